// Input of a kernel that evaluates forms on the sphere, as plain data without ownership.
#pragma once

#include <stdint.h>

#include "transform.h"

namespace equinet {

// A quantity of one of the functions, sampled on the grid.
struct Field {
  int function;
  Quantity quantity;
  int lmax;
  int64_t polar;     // offset of its polar factors in the tables
  int polar_stride;  // distance from one pair of rings to the next
};

// coefficient * the product of some fields, added to an output.
struct Term {
  int output;
  double coefficient;
  int first_factor;  // index in the list of factors
  int factor_count;
};

// A term of functions of low degree, which is evaluated without values on a grid.
struct SparseTerm {
  int output;
  double coefficient;
  bool is_bracket;
  int first;  // index of a function
  int second;
};

struct Output {
  int lmax;
  int64_t polar;
  int polar_stride;
};

// Coefficients [batch, (lmax + 1)^2, channels] with any strides, in elements.
template <class T>
struct Operand {
  const T* data;
  int64_t batch_stride;
  int64_t component_stride;
  int64_t channel_stride;
  int lmax;
};

template <class T>
struct FormsJob {
  const Operand<T>* functions;
  T* const* results;  // contiguous [batch, (lmax + 1)^2, channels], one for each output
  const Field* fields;
  const Term* terms;
  const SparseTerm* sparse_terms;  // replace fields and terms if all degrees are low
  const Output* outputs;
  const int* factors;  // indices of fields
  int function_count;
  int field_count;
  int term_count;
  int sparse_term_count;
  int output_count;
  const T* polar;  // polar factors of all fields
  const T* waves;  // [azimuths, wave_stride]: cos(m alpha), sin(m alpha)
  int wave_stride;
  int ring_pairs;
  bool has_equator;      // whether the last pair is one ring, the equator
  int azimuths;  // number of azimuths of a ring in one quadrant
  int64_t channels;
};

}  // namespace equinet
