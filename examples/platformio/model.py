"""Declares the model in the firmware's own environment, after phibuild_pio.py."""

Import("env")

# A checkpoint with random weights replaces yours: env.PhiModel("models/Phi-4-mini-instruct").
tiny = env.Artifact("build/tiny", worker="make_checkpoint.py", toolchain="phibuild", seed=1)
q4 = env.GGUF(
    "$BUILD_DIR/tiny.gguf", env.PhiModel(tiny), quant=env.GetProjectOption("custom_quant")
)
phi = env.EmbeddedModel("$BUILD_DIR/phi", q4, slot_size=env.GetProjectOption("custom_slot_size"))

env.AddCustomTarget("model", phi, None, title="Model", description="Build only the model")
env.Append(
    CPPPATH=["$BUILD_DIR/phi"],
    ASPPFLAGS=["-Wa,-I$BUILD_DIR/phi"],
    PIOBUILDFILES=[
        env.Object("$BUILD_DIR/phi_model.o", "$BUILD_DIR/phi/phi_model.c"),
        env.Object("$BUILD_DIR/phi_model_data.o", "$BUILD_DIR/phi/phi_model_data.S"),
        env.File("$BUILD_DIR/phi/phi_model_data.ld"),
    ],
)
