// A request to phi-quantize: which rows of which files become which tensors.
#pragma once

#include <ggml.h>

#include <cstdint>
#include <string>
#include <vector>

// Bytes of one type in a file, `rows` of its tensor.
struct Span {
    int file;  // descriptor
    ggml_type type;
    int64_t offset;
};

// Where bytes are written.
struct Place {
    int file;  // descriptor
    int64_t offset;
};

// A type to quantize a tensor to, and all places for the result. Without a place the result is only
// compared with the values it came from.
struct Target {
    ggml_type type;
    std::vector<float> importance;  // none, or one value for each column of each span
    std::vector<Place> places;
};

// Columns are the weights of a row; every span has `rows` rows. Values pass through `stored`, the type
// that llama.cpp's converter would have written, on their way to the targets. A tensor is cut into
// parts, of which every `step`th is quantized: 1 for whole tensors, more for samples.
struct Tensor {
    ggml_type stored;
    int64_t columns;
    int64_t rows;
    int64_t step;
    std::vector<Span> spans;
    std::vector<Target> targets;
};

// Reads a request: lines of numbers separated by blanks, types by ggml's numbers.
//
//   tensor STORED COLUMNS ROWS STEP SPANS TARGETS
//   span FILE TYPE OFFSET                   (SPANS times)
//   target TYPE PLACES IMATRIX              (TARGETS times, each with what follows)
//   place OUTPUT OFFSET                     (PLACES times)
//   imatrix FILE SUMS COUNTS EXPERTS        (if IMATRIX is 1)
//
// FILE and OUTPUT are indices into `files` and `outputs`; SUMS and COUNTS are where an imatrix keeps
// its F32 values. Throws std::runtime_error for anything else, and for impossible tensors.
std::vector<Tensor> read_request(const std::string & path, const std::vector<int> & outputs,
                                 const std::vector<int> & files);

// Exactly `size` bytes at `offset`; throws if there are fewer.
void read_exactly(int file, void * into, size_t size, int64_t offset);
void write_exactly(int file, const void * from, size_t size, int64_t offset);
