// Some rows of a tensor: read and converted once, quantized and written for each of its targets.
#pragma once

#include "request.h"

#include <stdexcept>

// The weights cannot become what was asked for; the text is a word that the caller knows.
struct BadWeights : std::runtime_error {
    using std::runtime_error::runtime_error;
};

// Buffers that one thread uses again and again.
struct Buffers {
    std::vector<uint8_t> source;
    std::vector<float> values;
    std::vector<uint8_t> stored;
    std::vector<uint8_t> target;
    std::vector<float> restored;
};

// How far a target's weights are from the values that they were made of, and how large these are:
// sums of squares, each multiplied with the importance of its column if there is one.
struct Distance {
    double error = 0.0;
    double values = 0.0;
};

// Makes `count` rows of a span, from `first` on. The bytes are the same however a tensor is cut.
// Adds to `distances`, one for each target, for targets that have no place.
void make_rows(const Tensor & tensor, size_t span, int64_t first, int64_t count, Buffers & buffers,
               std::vector<Distance> & distances);
