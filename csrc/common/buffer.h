// Working memory of kernels.
#pragma once

#include <stdint.h>

#include <memory>
#include <new>

#include "vectors.h"

namespace equinet {

// Memory from the aligned `new`, since Windows has no std::aligned_alloc.
constexpr std::align_val_t ALIGNMENT{WIDEST_VECTOR};

struct Free {
  void operator()(void* memory) const { ::operator delete(memory, ALIGNMENT); }
};
template <class T>
using Buffer = std::unique_ptr<T[], Free>;

// Memory for `count` numbers, not initialized, aligned to the widest vector.
template <class T>
Buffer<T> aligned_buffer(int64_t count) {
  return Buffer<T>(static_cast<T*>(::operator new(count * sizeof(T), ALIGNMENT)));
}

}  // namespace equinet
