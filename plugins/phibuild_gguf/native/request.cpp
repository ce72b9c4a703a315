#include "request.h"

#include <unistd.h>

#include <cerrno>
#include <cmath>
#include <cstring>
#include <fstream>
#include <stdexcept>

namespace {

class Reader {
public:
    explicit Reader(const std::string & path) : input(path) {
        if (!input) {
            throw std::runtime_error("cannot open the request");
        }
    }

    bool next(std::string & word) { return static_cast<bool>(input >> word); }

    void expect(const char * expected) {
        std::string word;
        if (!next(word) || word != expected) {
            throw std::runtime_error("the request has '" + word + "' instead of '" + expected + "'");
        }
    }

    int64_t number(int64_t least, int64_t most) {
        int64_t value = 0;
        if (!(input >> value) || value < least || value > most) {
            throw std::runtime_error("the request has a number out of range");
        }
        return value;
    }

    int64_t size() { return number(0, INT64_C(1) << 48); }

    int64_t count() { return number(1, INT64_C(1) << 40); }

    ggml_type type() { return static_cast<ggml_type>(number(0, GGML_TYPE_COUNT - 1)); }

    int file(const std::vector<int> & files) {
        const auto last = static_cast<int64_t>(files.size()) - 1;
        return files[static_cast<size_t>(number(0, last))];
    }

private:
    std::ifstream input;
};

std::vector<float> read_floats(int file, int64_t offset, int64_t count) {
    std::vector<float> values(static_cast<size_t>(count));
    read_exactly(file, values.data(), values.size() * sizeof(float), offset);
    return values;
}

// The mean square of each activation, as load_imatrix of tools/quantize/quantize.cpp computes it.
std::vector<float> importance_of(Reader & reader, const std::vector<int> & files, int64_t total) {
    const int file = reader.file(files);
    const int64_t sums = reader.size();
    const int64_t counts = reader.size();
    const int64_t experts = reader.number(1, total);
    std::vector<float> values = read_floats(file, sums, total);
    const std::vector<float> seen = read_floats(file, counts, experts);
    const auto columns = static_cast<size_t>(total / experts);
    for (size_t index = 0; index < values.size(); ++index) {
        const auto count = static_cast<float>(std::lround(seen[index / columns]));
        values[index] = count > 0.0f ? values[index] / count : 1.0f;
        if (!std::isfinite(values[index])) {
            throw std::runtime_error("the imatrix has a value that is not finite");
        }
    }
    return values;
}

bool is_float(ggml_type type) {
    return type == GGML_TYPE_F32 || type == GGML_TYPE_F16 || type == GGML_TYPE_BF16;
}

Target read_target(Reader & reader, const std::vector<int> & outputs,
                   const std::vector<int> & files, int64_t columns, int64_t spans) {
    reader.expect("target");
    Target target{};
    target.type = reader.type();
    const int64_t places = reader.size();
    const bool has_imatrix = reader.number(0, 1) == 1;
    const int64_t block = ggml_blck_size(target.type);
    if (block == 0 || columns % block != 0) {
        throw std::runtime_error("the request has a type whose blocks do not fill the tensor's rows");
    }
    for (int64_t index = 0; index < places; ++index) {
        reader.expect("place");
        const int file = reader.file(outputs);
        target.places.push_back({file, reader.size()});
    }
    if (has_imatrix) {
        reader.expect("imatrix");
        target.importance = importance_of(reader, files, columns * spans);
    }
    return target;
}

Tensor read_tensor(Reader & reader, const std::vector<int> & outputs,
                   const std::vector<int> & files) {
    Tensor tensor{};
    tensor.stored = reader.type();
    tensor.columns = reader.count();
    tensor.rows = reader.count();
    tensor.step = reader.count();
    const int64_t spans = reader.count();
    const int64_t targets = reader.count();
    if (!is_float(tensor.stored)) {
        throw std::runtime_error("the request has a tensor that is not stored as floats");
    }
    for (int64_t index = 0; index < spans; ++index) {
        reader.expect("span");
        Span span{};
        span.file = reader.file(files);
        span.type = reader.type();
        span.offset = reader.size();
        if (!is_float(span.type)) {
            throw std::runtime_error("the request has a source that is not stored as floats");
        }
        tensor.spans.push_back(span);
    }
    for (int64_t index = 0; index < targets; ++index) {
        tensor.targets.push_back(read_target(reader, outputs, files, tensor.columns, spans));
    }
    return tensor;
}

}  // namespace

std::vector<Tensor> read_request(const std::string & path, const std::vector<int> & outputs,
                                 const std::vector<int> & files) {
    Reader reader(path);
    std::vector<Tensor> tensors;
    std::string word;
    while (reader.next(word)) {
        if (word != "tensor") {
            throw std::runtime_error("the request has '" + word + "' instead of 'tensor'");
        }
        tensors.push_back(read_tensor(reader, outputs, files));
    }
    return tensors;
}

void read_exactly(int file, void * into, size_t size, int64_t offset) {
    auto * place = static_cast<char *>(into);
    while (size > 0) {
        const ssize_t got = pread(file, place, size, static_cast<off_t>(offset));
        if (got == 0) {
            throw std::runtime_error("a source ends before its tensor does");
        }
        if (got < 0) {
            if (errno == EINTR) {
                continue;
            }
            throw std::runtime_error(std::string("cannot read: ") + std::strerror(errno));
        }
        place += got;
        size -= static_cast<size_t>(got);
        offset += got;
    }
}

void write_exactly(int file, const void * from, size_t size, int64_t offset) {
    const auto * place = static_cast<const char *>(from);
    while (size > 0) {
        const ssize_t put = pwrite(file, place, size, static_cast<off_t>(offset));
        if (put < 0) {
            if (errno == EINTR) {
                continue;
            }
            throw std::runtime_error(std::string("cannot write: ") + std::strerror(errno));
        }
        place += put;
        size -= static_cast<size_t>(put);
        offset += put;
    }
}
