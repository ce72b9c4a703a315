// Quantizes tensors of a checkpoint straight into the files of artifacts.
//
//   phi-quantize REQUEST THREADS OUTPUTS OUTPUT... FILE...
//
// REQUEST (see request.h) refers by index to the OUTPUTs, which already exist, and to the FILEs;
// OUTPUTS is the number of the former. Prints "done INDEX" for each tensor when all of it is written,
// or "failed INDEX WORD" and exits with status 1; the words are not-finite and too-large-for-f16. For
// targets without a place, "distance INDEX TARGET ERROR VALUES" comes first: see Distance in rows.h.
#include "request.h"
#include "rows.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <mutex>
#include <stdexcept>
#include <thread>

namespace {

// Fits into a core's cache, lets all cores finish together, and is large enough for the disk.
constexpr int64_t weights_at_once = 1 << 17;

struct Part {
    size_t tensor;
    size_t span;
    int64_t first;
    int64_t count;
};

std::vector<Part> parts_of(const std::vector<Tensor> & tensors) {
    std::vector<Part> parts;
    for (size_t index = 0; index < tensors.size(); ++index) {
        const Tensor & tensor = tensors[index];
        const int64_t rows = std::max<int64_t>(1, weights_at_once / tensor.columns);
        int64_t number = 0;
        for (size_t span = 0; span < tensor.spans.size(); ++span) {
            for (int64_t first = 0; first < tensor.rows; first += rows) {
                if (number++ % tensor.step == 0) {
                    parts.push_back({index, span, first, std::min(rows, tensor.rows - first)});
                }
            }
        }
    }
    return parts;
}

// Threads take the parts in turn; the first failure stops them all.
class Work {
public:
    explicit Work(const std::vector<Tensor> & requested)
        : tensors(requested),
          parts(parts_of(requested)),
          left(requested.size()),
          distances(parts.size()) {
        for (const Part & part : parts) {
            ++left[part.tensor];
        }
    }

    bool run(int64_t threads) {
        std::vector<std::thread> others;
        for (int64_t index = 1; index < threads; ++index) {
            others.emplace_back([this] { take_parts(); });
        }
        take_parts();
        for (std::thread & other : others) {
            other.join();
        }
        return !failed;
    }

private:
    void take_parts() {
        Buffers buffers;
        while (!failed) {
            const size_t index = next++;
            if (index >= parts.size()) {
                return;
            }
            const Part & part = parts[index];
            try {
                const Tensor & tensor = tensors[part.tensor];
                distances[index].resize(tensor.targets.size());
                quantize_rows(tensor, part.span, part.first, part.count, buffers, distances[index]);
            } catch (const BadWeights & error) {
                fail("failed " + std::to_string(part.tensor) + " " + error.what());
            } catch (const std::exception & error) {
                fail(std::string("error: ") + error.what());
            }
            if (--left[part.tensor] == 0 && !failed) {
                print_distances(part.tensor);
                print("done " + std::to_string(part.tensor));
            }
        }
    }

    // In the order of the parts, whatever thread took them, so that a sum is always the same.
    void print_distances(size_t tensor) {
        for (size_t target = 0; target < tensors[tensor].targets.size(); ++target) {
            if (!tensors[tensor].targets[target].places.empty()) {
                continue;
            }
            Distance sum;
            for (size_t index = 0; index < parts.size(); ++index) {
                if (parts[index].tensor == tensor) {
                    sum.error += distances[index][target].error;
                    sum.values += distances[index][target].values;
                }
            }
            char words[128];
            std::snprintf(words, sizeof words, "distance %zu %zu %.17g %.17g", tensor, target,
                          sum.error, sum.values);
            print(words);
        }
    }

    void fail(const std::string & words) {
        if (!failed.exchange(true)) {
            print(words);
        }
    }

    void print(const std::string & words) {
        const std::lock_guard<std::mutex> lock(printing);
        std::printf("%s\n", words.c_str());
        std::fflush(stdout);
    }

    const std::vector<Tensor> & tensors;
    const std::vector<Part> parts;
    std::vector<std::atomic<int64_t>> left;
    std::vector<std::vector<Distance>> distances;  // of each part, for each target
    std::atomic<size_t> next{0};
    std::atomic<bool> failed{false};
    std::mutex printing;
};

int open_file(const char * path, int flags) {
    const int file = open(path, flags | O_CLOEXEC);
    if (file < 0) {
        throw std::runtime_error(std::string(path) + ": " + std::strerror(errno));
    }
    return file;
}

}  // namespace

int main(int argc, char ** argv) {
    const int64_t count = argc < 4 ? -1 : std::atoll(argv[3]);
    if (count < 0 || count > argc - 5) {
        std::fprintf(stderr, "usage: phi-quantize REQUEST THREADS OUTPUTS OUTPUT... FILE...\n");
        return 2;
    }
    try {
        std::vector<int> outputs;
        std::vector<int> files;
        for (int index = 4; index < argc; ++index) {
            const bool is_output = index < 4 + count;
            (is_output ? outputs : files)
                .push_back(open_file(argv[index], is_output ? O_WRONLY : O_RDONLY));
        }
        const std::vector<Tensor> tensors = read_request(argv[1], outputs, files);
        Work work(tensors);
        return work.run(std::atoll(argv[2])) ? 0 : 1;
    } catch (const std::exception & error) {
        std::fprintf(stderr, "error: %s\n", error.what());
        return 1;
    }
}
