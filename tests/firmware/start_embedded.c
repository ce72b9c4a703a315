#include "phi_model_data.h"

/* A whole firmware: what it takes of the image keeps the linker from leaving it out. */
void start(void);
void start(void)
{
    volatile uint8_t first = phi_model_image[0];
    for (;;) {
        first = phi_model_image_end[-1];
        (void)first;
    }
}
