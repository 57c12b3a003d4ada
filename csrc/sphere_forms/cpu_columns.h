// How columns of coefficients are loaded into the lanes of vectors, and stored.
//
// A column is one channel of one batch entry. Columns are numbered by batch index * channels +
// channel, so that lanes are in use for any number of channels.
#pragma once

#include <stdint.h>
#include <string.h>

#include "../common/vectors.h"

namespace equinet {
namespace EQUINET_ISA {

// Reads components [components] of `count` columns from column `first` on; further lanes are zero.
template <class T>
inline void load_columns(const T* data, int64_t batch_stride, int64_t component_stride,
                         int64_t channel_stride, int64_t channels, int64_t components,
                         int64_t first, int64_t count, Vector<T>* x) {
  constexpr int COUNT = NATIVE_WIDTH<T>;
  int64_t batch = first / channels, channel = first % channels;
  if (count == COUNT && channel + COUNT <= channels && channel_stride == 1) {
    const T* source = data + batch * batch_stride + channel;
    for (int64_t i = 0; i < components; ++i) {
      memcpy(&x[i], source + i * component_stride, sizeof x[i]);
    }
    return;
  }
  if (channel + count <= channels && channel_stride == 0) {
    const T* source = data + batch * batch_stride;
    for (int64_t i = 0; i < components; ++i) {
      x[i] = source[i * component_stride] + Vector<T>{};
    }
    return;
  }
  const T* sources[COUNT];
  for (int lane = 0; lane < count; ++lane) {
    sources[lane] = data + batch * batch_stride + channel * channel_stride;
    if (++channel == channels) {
      channel = 0;
      ++batch;
    }
  }
  for (int64_t i = 0; i < components; ++i) {
    Vector<T> value = {};
    for (int lane = 0; lane < count; ++lane) value[lane] = sources[lane][i * component_stride];
    x[i] = value;
  }
}

// Writes `count` columns to contiguous [batch, components, channels].
template <class T>
inline void store_columns(const Vector<T>* x, int64_t channels, int64_t components, int64_t first,
                          int64_t count, T* data) {
  constexpr int COUNT = NATIVE_WIDTH<T>;
  int64_t batch = first / channels, channel = first % channels;
  T* target = data + batch * components * channels + channel;
  if (count == COUNT && channel + COUNT <= channels) {
    for (int64_t i = 0; i < components; ++i) memcpy(target + i * channels, &x[i], sizeof x[i]);
    return;
  }
  for (int lane = 0; lane < count; ++lane) {
    for (int64_t i = 0; i < components; ++i) target[i * channels] = x[i][lane];
    ++target;
    if (++channel == channels) {
      channel = 0;
      target += (components - 1) * channels;
    }
  }
}

}  // namespace EQUINET_ISA
}  // namespace equinet
