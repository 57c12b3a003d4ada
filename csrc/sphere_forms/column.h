// Reads and writes of one column of coefficients, that is one channel of one batch entry, by a
// thread of a device.
//
// Tensors hold float16, bfloat16, float32 or float64. T is the type in which columns are computed:
// double for float64 and float for the others.
#pragma once

#include <torch/headeronly/core/ScalarType.h>
#include <torch/headeronly/util/BFloat16.h>
#include <torch/headeronly/util/Half.h>

#include "job.h"

namespace equinet {

using torch::headeronly::ScalarType;

EQUINET_INLINE constexpr int components_of(int lmax) { return (lmax + 1) * (lmax + 1); }

struct Column {
  int64_t batch;
  int64_t channel;

  EQUINET_INLINE Column(int64_t index, int64_t channels)
      : batch(index / channels), channel(index % channels) {}
};

template <class E>
struct ElementOf {
  using Type = E;
};

// Calls f(ElementOf<E>) for the type of a tensor's elements.
template <class T, class F>
EQUINET_INLINE void with_element(ScalarType element, const F& f) {
  if constexpr (sizeof(T) == sizeof(double)) {
    f(ElementOf<double>{});
  } else if (element == ScalarType::Float) {
    f(ElementOf<float>{});
  } else if (element == ScalarType::Half) {
    f(ElementOf<torch::headeronly::Half>{});
  } else {
    f(ElementOf<torch::headeronly::BFloat16>{});
  }
}

// Reads a function of degree L of elements E; x is indexed like an array. All loads are started
// before the first value is used.
template <int L, class T, class E, class X>
EQUINET_INLINE void read_column(const Operand<void>& f, const Column& column, X x) {
  constexpr int COUNT = components_of(L);
  const E* const source = static_cast<const E*>(f.data) + column.batch * f.batch_stride +
                          column.channel * f.channel_stride;
  T values[COUNT];
  EQUINET_UNROLL
  for (int i = 0; i < COUNT; ++i) values[i] = static_cast<T>(source[i * f.component_stride]);
  EQUINET_UNROLL
  for (int i = 0; i < COUNT; ++i) x[i] = values[i];
}

// Writes coefficient * z as a function of degree L to contiguous [batch, component, channel], or
// adds it to the values there.
template <int L, class T, class Z>
EQUINET_INLINE void write_column(
    Z z, T coefficient, void* result, ScalarType element, bool adds, const Column& column,
    int64_t channels) {
  constexpr int COUNT = components_of(L);
  with_element<T>(element, [&](auto type) EQUINET_LAMBDA_INLINE {
    using E = typename decltype(type)::Type;
    E* const target = static_cast<E*>(result) + column.batch * COUNT * channels + column.channel;
    T before[COUNT] = {};
    if (adds) {
      EQUINET_UNROLL
      for (int i = 0; i < COUNT; ++i) before[i] = static_cast<T>(target[i * channels]);
    }
    EQUINET_UNROLL
    for (int i = 0; i < COUNT; ++i) {
      target[i * channels] = static_cast<E>(before[i] + coefficient * z[i]);
    }
  });
}

}  // namespace equinet
