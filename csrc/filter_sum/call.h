// Checks, sizes and results of calls of equinet::filter_sum and equinet::filter_correlation, the
// same on every device.
#pragma once

#include <torch/csrc/stable/ops.h>
#include <torch/csrc/stable/tensor.h>

#include <cmath>
#include <initializer_list>
#include <optional>
#include <stdexcept>
#include <string>
#include <vector>

#include "../common/new_tensor.h"
#include "form.h"

namespace equinet {

using torch::headeronly::ScalarType;
using torch::stable::Tensor;
using OptionalTensor = std::optional<Tensor>;

template <class T>
const T* data_of(const Tensor& x) {
  return static_cast<const T*>(x.const_data_ptr());
}

inline std::string text_of(const char* text) { return text; }
inline std::string text_of(int64_t number) { return std::to_string(number); }
inline std::string text_of(const std::vector<int64_t>& shape) {
  std::string text = "[";
  for (size_t i = 0; i < shape.size(); ++i) text += (i ? ", " : "") + std::to_string(shape[i]);
  return text + "]";
}
inline std::string text_of(const Tensor& x) {
  return text_of(std::vector<int64_t>(x.sizes().begin(), x.sizes().end()));
}

template <class... Parts>
void check(bool holds, const Parts&... message) {
  if (!holds) throw std::invalid_argument((std::string() + ... + text_of(message)));
}

inline void check_shape(const char* name, const Tensor& x, std::initializer_list<int64_t> shape) {
  bool fits = x.dim() == int64_t(shape.size());
  for (size_t i = 0; fits && i < shape.size(); ++i) fits = x.size(i) == shape.begin()[i];
  check(fits, name, " must have shape ", std::vector<int64_t>(shape), ", found ", x);
}

// Sizes that are the same for all operands of a call.
struct FilterSizes {
  int64_t edges, degrees, channels;
  int64_t half;  // 0: no table
  int64_t components() const { return degrees * degrees; }
  int64_t points() const { return half ? 2 * half : components(); }
};

inline int64_t degrees_in(const Tensor& harmonics) {
  const int64_t size = harmonics.dim() == 2 ? harmonics.size(1) : 0;
  const int64_t degrees = std::llround(std::sqrt(double(size)));
  check(size > 0 && degrees * degrees == size, "harmonics must have shape [E, degrees^2], found ",
        harmonics);
  return degrees;
}

inline int64_t half_of(const OptionalTensor& table, int64_t components) {
  if (!table) return 0;
  check(table->dim() == 2 && table->size(0) > 0 && table->size(1) == components,
        "table must have shape [points / 2, ", components, "], found ", *table);
  return table->size(0);
}

inline void check_samples(const char* name, const Tensor& x, int64_t points, int64_t channels) {
  check(x.dim() == 3 && x.size(1) == points && x.size(2) == channels, name,
        " must have shape [nodes, ", points, ", ", channels, "], found ", x);
}

inline void check_index(const char* name, const Tensor& index, int64_t edges, const Tensor& x) {
  check_shape(name, index, {edges});
  check(index.device() == x.device(), name, " must be on the device of the operands");
  const ScalarType type = index.scalar_type();
  check(type == ScalarType::Int || type == ScalarType::Long, name, " must be int32 or int64");
}

// Checks that operands have one type and one device.
inline void check_alike(const Tensor& first, std::initializer_list<const OptionalTensor*> others) {
  const ScalarType type = first.scalar_type();
  check(type == ScalarType::Float || type == ScalarType::Double,
        "operands must be float32 or float64");
  for (const OptionalTensor* each : others) {
    check(!*each || (*each)->scalar_type() == type, "operands must all be of one type");
    check(!*each || (*each)->device() == first.device(), "operands must all be on one device");
  }
}

// The tensor itself where it is contiguous; torch::stable::contiguous would take a microsecond to
// find that out.
inline Tensor as_contiguous(const Tensor& x) {
  return x.is_contiguous() ? x : torch::stable::contiguous(x);
}

inline OptionalTensor as_contiguous(const OptionalTensor& x) {
  return x ? OptionalTensor(as_contiguous(*x)) : x;
}

// A call of filter_sum whose operands have been checked; all tensors but the indices are contiguous.
struct FilterSumCall {
  FilterSizes sizes;
  int filters;
  OptionalTensor harmonics[MAX_FILTERS], radial[MAX_FILTERS], table;
  Tensor samples, result;

  FilterSumCall(const Tensor& first_harmonics, const Tensor& first_radial,
                const OptionalTensor& other_harmonics, const OptionalTensor& other_radial,
                const Tensor& given_samples, const OptionalTensor& given_table,
                const Tensor& source, const Tensor& target, int64_t targets)
      : filters(other_harmonics ? 2 : 1),
        harmonics{first_harmonics, other_harmonics},
        radial{first_radial, other_radial},
        table(as_contiguous(given_table)),
        samples(as_contiguous(given_samples)) {
    check(other_harmonics.has_value() == other_radial.has_value(),
          "other_harmonics and other_radial must be given together");
    check(samples.dim() == 3, "samples must have shape [nodes, points, channels], found ", samples);
    sizes = {first_harmonics.size(0), degrees_in(first_harmonics), samples.size(2), 0};
    sizes.half = half_of(table, sizes.components());
    for (int q = 0; q < filters; ++q) {
      check_shape("harmonics", *harmonics[q], {sizes.edges, sizes.components()});
      check_shape("radial", *radial[q], {sizes.edges, sizes.degrees, sizes.channels});
      harmonics[q] = as_contiguous(harmonics[q]);
      radial[q] = as_contiguous(radial[q]);
    }
    check_samples("samples", samples, spreads() ? 1 : sizes.points(), sizes.channels);
    check_alike(samples, {&harmonics[0], &radial[0], &harmonics[1], &radial[1], &table});
    check_index("source", source, sizes.edges, samples);
    check_index("target", target, sizes.edges, samples);
    const int64_t points = table || spreads() ? sizes.points() : 1;
    result = new_tensor(samples, {targets, points, sizes.channels});
  }

  // Whether one sample is used for all components.
  bool spreads() const { return !table && samples.size(1) == 1; }
};

// A call of filter_correlation whose operands have been checked; all tensors but the indices are
// contiguous. Without table u is the factor with one point, because the form is symmetric in its
// two factors.
struct FilterCorrelationCall {
  FilterSizes sizes;
  OptionalTensor harmonics, radial, table;
  Tensor u, v, source, target, by_harmonics, by_radial;

  FilterCorrelationCall(const OptionalTensor& given_harmonics, const OptionalTensor& given_radial,
                        const Tensor& given_u, const Tensor& given_v,
                        const OptionalTensor& given_table, const Tensor& given_source,
                        const Tensor& given_target)
      : sizes{given_source.size(0), 0, 0, 0},
        harmonics(as_contiguous(given_harmonics)),
        radial(as_contiguous(given_radial)),
        table(as_contiguous(given_table)),
        u(as_contiguous(given_u)),
        v(as_contiguous(given_v)),
        source(given_source),
        target(given_target) {
    check(u.dim() == 3, "u must have shape [nodes, points, channels], found ", u);
    check(v.dim() == 3, "v must have shape [nodes, points, channels], found ", v);
    check(harmonics || radial, "harmonics or radial must be given");
    check(!radial || radial->dim() == 3, "radial must have three dimensions");
    sizes.degrees = harmonics ? degrees_in(*harmonics) : radial->size(1);
    sizes.channels = u.size(2);
    sizes.half = half_of(table, sizes.components());
    if (!table && u.size(1) != 1) {
      std::swap(u, v);
      std::swap(source, target);
    }
    if (harmonics) check_shape("harmonics", *harmonics, {sizes.edges, sizes.components()});
    if (radial) check_shape("radial", *radial, {sizes.edges, sizes.degrees, sizes.channels});
    check_samples("one of u and v", u, table ? sizes.points() : 1, sizes.channels);
    check_samples("one of u and v", v, sizes.points(), sizes.channels);
    check_alike(u, {&harmonics, &radial, &table});
    check(v.scalar_type() == u.scalar_type(), "operands must all be of one type");
    check(v.device() == u.device(), "operands must all be on one device");
    check_index("source", source, sizes.edges, u);
    check_index("target", target, sizes.edges, u);
    // Results that are not requested are empty.
    by_harmonics = new_tensor(u, {0});
    by_radial = by_harmonics;
    if (radial) by_harmonics = torch::stable::new_zeros(u, {sizes.edges, sizes.components()});
    if (harmonics) {
      by_radial = new_tensor(u, {sizes.edges, sizes.degrees, sizes.channels});
    }
  }
};

}  // namespace equinet
