// What is asked of the driver: which rows of which files become which tensors.
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

// Where bytes go.
struct Place {
    int file;  // descriptor
    int64_t offset;
};

// One of the forms that a tensor is wanted in, and all places for it. One without places is not kept:
// it is measured how far it is from the values that it was made of.
struct Target {
    ggml_type type;
    std::vector<float> importance;  // none, or one value for each column of each span
    std::vector<Place> places;
};

// Columns are the weights of a row; every span has `rows` of them. Values pass through `stored`, the
// type that llama.cpp's converter would have written, on their way to the targets. Of the parts that
// a tensor is cut into, every `step`th is made: 1 for whole tensors, more for samples.
struct Tensor {
    ggml_type stored;
    int64_t columns;
    int64_t rows;
    int64_t step;
    std::vector<Span> spans;
    std::vector<Target> targets;
};

// Reads a request: lines of blank-separated numbers, types by ggml's own.
//
//   tensor STORED COLUMNS ROWS STEP SPANS TARGETS
//   span FILE TYPE OFFSET                   (SPANS times)
//   target TYPE PLACES IMATRIX              (TARGETS times, each with what follows)
//   place OUTPUT OFFSET                     (PLACES times)
//   imatrix FILE SUMS COUNTS EXPERTS        (if IMATRIX is 1)
//
// FILE and OUTPUT are indices into `files` and `outputs`; SUMS and COUNTS are where an imatrix keeps
// its F32 values. Throws std::runtime_error for anything else, and for what no tensor can be.
std::vector<Tensor> read_request(const std::string & path, const std::vector<int> & outputs,
                                 const std::vector<int> & files);

// All of `size` bytes at `offset`; throws if there are fewer.
void read_exactly(int file, void * into, size_t size, int64_t offset);
void write_exactly(int file, const void * from, size_t size, int64_t offset);
