// Quantizes rows of a tensor: reads and converts them once, writes them for each target.
#pragma once

#include "request.h"

#include <stdexcept>

// The weights cannot be stored in the requested type; the text is not-finite or too-large-for-f16.
struct BadWeights : std::runtime_error {
    using std::runtime_error::runtime_error;
};

// Buffers that a thread reuses for each part.
struct Buffers {
    std::vector<uint8_t> source;
    std::vector<float> values;
    std::vector<uint8_t> stored;
    std::vector<uint8_t> target;
    std::vector<float> restored;
};

// The squared error of a target's weights, and the squares of the values they came from: sums, each
// term multiplied by the importance of its column if there is one.
struct Distance {
    double error = 0.0;
    double values = 0.0;
};

// Quantizes `count` rows of a span, starting at `first`. The bytes do not depend on how a tensor is
// cut. Adds to `distances` (one per target) for targets without a place.
void quantize_rows(const Tensor & tensor, size_t span, int64_t first, int64_t count, Buffers & buffers,
               std::vector<Distance> & distances);
