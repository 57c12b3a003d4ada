// equinet::edge_harmonics and equinet::edge_gradient on the CPU: lengths and harmonics of vectors,
// and the gradient by the vectors from those by lengths and harmonics.
//
// A vector whose square is no normal number counts as zero: its harmonics are those of degree 0
// alone, and its gradients are zero.

#include <torch/csrc/stable/library.h>
#include <torch/csrc/stable/ops.h>
#include <torch/csrc/stable/tensor.h>

#include <algorithm>
#include <limits>

#include "cpu.h"
#include "recurrence.h"

namespace equinet {
namespace {

// Least number of edges for which it is worth to start a thread.
constexpr int64_t EDGES_PER_TASK = 1024;

// Length and direction of a vector.
template <class T>
struct Direction {
  T length, x, y, z;
  bool is_zero;

  explicit Direction(const T* vector) {
    const T square = vector[0] * vector[0] + vector[1] * vector[1] + vector[2] * vector[2];
    length = std::sqrt(square);
    is_zero = square < std::numeric_limits<T>::min();
    const T inverse = is_zero ? T{0} : T{1} / length;
    x = vector[0] * inverse;
    y = vector[1] * inverse;
    z = vector[2] * inverse;
  }
};

template <class T>
void evaluate(const Tensor& vectors, int lmax, Tensor& lengths, Tensor& harmonics) {
  const HarmonicRecurrence<T> recurrence(lmax);
  const T* source = data_of<T>(vectors);
  T* length = static_cast<T*>(lengths.mutable_data_ptr());
  T* values = static_cast<T*>(harmonics.mutable_data_ptr());
  const int64_t components = int64_t(lmax + 1) * (lmax + 1);
  torch::stable::parallel_for(0, vectors.size(0), EDGES_PER_TASK, [&](int64_t begin, int64_t end) {
    for (int64_t e = begin; e < end; ++e) {
      const Direction<T> to(source + 3 * e);
      T* row = values + e * components;
      length[e] = to.length;
      recurrence.evaluate(to.x, to.y, to.z, row);
      if (to.is_zero) std::fill(row + 1, row + components, T{0});
    }
  });
}

template <class T>
void differentiate(const Tensor& vectors, const Tensor& by_length, const Tensor& by_harmonics,
                   int lmax, Tensor& result) {
  const HarmonicRecurrence<T> recurrence(lmax);
  const T *source = data_of<T>(vectors), *along = data_of<T>(by_length);
  const T* weights = data_of<T>(by_harmonics);
  T* out = static_cast<T*>(result.mutable_data_ptr());
  const int64_t components = int64_t(lmax + 1) * (lmax + 1);
  torch::stable::parallel_for(0, vectors.size(0), EDGES_PER_TASK, [&](int64_t begin, int64_t end) {
    for (int64_t e = begin; e < end; ++e) {
      const Direction<T> to(source + 3 * e);
      T g[3] = {};
      if (!to.is_zero) {
        recurrence.differentiate(to.x, to.y, to.z, weights + e * components, g);
        // The part across the vector, over its length, and the slope along it.
        const T parallel = g[0] * to.x + g[1] * to.y + g[2] * to.z;
        const T n[3] = {to.x, to.y, to.z};
        for (int i = 0; i < 3; ++i) {
          g[i] = (g[i] - parallel * n[i]) / to.length + along[e] * n[i];
        }
      }
      std::copy(g, g + 3, out + 3 * e);
    }
  });
}

void check_vectors(const Tensor& vectors) {
  check(vectors.dim() == 2 && vectors.size(1) == 3, "vectors must have shape [E, 3], found ",
        vectors);
  check_alike(vectors, {});
}

}  // namespace

std::tuple<Tensor, Tensor> edge_harmonics(const Tensor& given, int64_t lmax) {
  check_vectors(given);
  check(lmax >= 0, "lmax must be at least 0, found ", lmax);
  const Tensor vectors = as_contiguous(given);
  Tensor lengths = new_tensor(vectors, {vectors.size(0)});
  Tensor harmonics = new_tensor(vectors, {vectors.size(0), (lmax + 1) * (lmax + 1)});
  if (vectors.scalar_type() == ScalarType::Float) {
    evaluate<float>(vectors, int(lmax), lengths, harmonics);
  } else {
    evaluate<double>(vectors, int(lmax), lengths, harmonics);
  }
  return {lengths, harmonics};
}

Tensor edge_gradient(const Tensor& given, const Tensor& by_length, const Tensor& by_harmonics) {
  check_vectors(given);
  const Tensor vectors = as_contiguous(given);
  const OptionalTensor length(as_contiguous(by_length));
  const OptionalTensor harmonics(as_contiguous(by_harmonics));
  check_alike(vectors, {&length, &harmonics});
  check_shape("by_length", *length, {vectors.size(0)});
  const int64_t degrees = degrees_in(*harmonics);
  check_shape("by_harmonics", *harmonics, {vectors.size(0), degrees * degrees});
  Tensor result = new_tensor(vectors, {vectors.size(0), 3});
  if (vectors.scalar_type() == ScalarType::Float) {
    differentiate<float>(vectors, *length, *harmonics, int(degrees) - 1, result);
  } else {
    differentiate<double>(vectors, *length, *harmonics, int(degrees) - 1, result);
  }
  return result;
}

}  // namespace equinet

STABLE_TORCH_LIBRARY_IMPL(equinet, CPU, m) {
  m.impl("edge_harmonics", TORCH_BOX(&equinet::edge_harmonics));
  m.impl("edge_gradient", TORCH_BOX(&equinet::edge_gradient));
}
