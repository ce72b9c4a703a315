#include "rows.h"

#include <cmath>
#include <cstring>

namespace {

// The largest F16 is 65504; values from here on are rounded to infinity.
constexpr float too_large_for_f16 = 65520.0f;

void to_floats(ggml_type type, const void * from, float * to, int64_t count) {
    if (type == GGML_TYPE_F32) {
        std::memcpy(to, from, static_cast<size_t>(count) * sizeof(float));
    } else {
        ggml_get_type_traits(type)->to_float(from, to, count);
    }
}

void encode(ggml_type type, const float * values, int64_t rows, int64_t columns,
            const float * importance, std::vector<uint8_t> & to) {
    to.resize(static_cast<size_t>(rows) * ggml_row_size(type, columns));
    ggml_quantize_chunk(type, values, to.data(), 0, rows, columns, importance);
    // llama-quantize checks the same of what it reads and of what it has quantized.
    if (!ggml_validate_row_data(type, to.data(), to.size())) {
        throw BadWeights("not-finite");
    }
}

void check_range(const std::vector<float> & values, int64_t count) {
    for (int64_t index = 0; index < count; ++index) {
        const float value = std::fabs(values[static_cast<size_t>(index)]);
        if (value >= too_large_for_f16 && std::isfinite(value)) {
            throw BadWeights("too-large-for-f16");
        }
    }
}

// Adds in the order of the weights, so that a sum is the same on every machine.
void add_distance(const float * values, const float * restored, int64_t rows, int64_t columns,
                  const float * importance, Distance & distance) {
    for (int64_t row = 0; row < rows; ++row) {
        for (int64_t column = 0; column < columns; ++column) {
            const double value = values[row * columns + column];
            const double error = value - static_cast<double>(restored[row * columns + column]);
            const double factor = importance == nullptr ? 1.0 : importance[column];
            distance.error += factor * error * error;
            distance.values += factor * value * value;
        }
    }
}

}  // namespace

void quantize_rows(const Tensor & tensor, size_t span, int64_t first, int64_t count, Buffers & buffers,
               std::vector<Distance> & distances) {
    const Span & from = tensor.spans[span];
    const int64_t weights = count * tensor.columns;
    const size_t size = static_cast<size_t>(weights) * ggml_type_size(from.type);
    const auto skipped =
        static_cast<int64_t>(ggml_type_size(from.type)) * first * tensor.columns;
    auto & values = buffers.values;
    if (values.size() < static_cast<size_t>(weights)) {
        values.resize(static_cast<size_t>(weights));
    }
    if (from.type == GGML_TYPE_F32) {
        read_exactly(from.file, values.data(), size, from.offset + skipped);
    } else {
        buffers.source.resize(size);
        read_exactly(from.file, buffers.source.data(), size, from.offset + skipped);
        to_floats(from.type, buffers.source.data(), values.data(), weights);
    }
    if (tensor.stored == GGML_TYPE_F16 && from.type != GGML_TYPE_F16) {
        check_range(values, weights);
    }
    encode(tensor.stored, values.data(), count, tensor.columns, nullptr, buffers.stored);
    if (tensor.stored != GGML_TYPE_F32 && tensor.stored != from.type) {
        to_floats(tensor.stored, buffers.stored.data(), values.data(), weights);
    }
    const int64_t row = static_cast<int64_t>(span) * tensor.rows + first;
    for (size_t index = 0; index < tensor.targets.size(); ++index) {
        const Target & target = tensor.targets[index];
        const std::vector<uint8_t> * result = &buffers.stored;
        const float * importance =
            target.importance.empty()
                ? nullptr
                : target.importance.data() + span * static_cast<size_t>(tensor.columns);
        if (target.type != tensor.stored) {
            encode(target.type, values.data(), count, tensor.columns, importance, buffers.target);
            result = &buffers.target;
        }
        const auto row_size = static_cast<int64_t>(ggml_row_size(target.type, tensor.columns));
        for (const Place & place : target.places) {
            write_exactly(place.file, result->data(), result->size(), place.offset + row * row_size);
        }
        if (target.places.empty()) {
            buffers.restored.resize(values.size());
            to_floats(target.type, result->data(), buffers.restored.data(), weights);
            add_distance(values.data(), buffers.restored.data(), count, tensor.columns, importance,
                         distances[index]);
        }
    }
}
