// Entry point of the kernels that evaluate forms on the sphere.
#pragma once

#include "../common/isa.h"
#include "job.h"

namespace equinet {

// Most factors in one term, fields, and terms of low degree: beyond third derivatives of products.
constexpr int MAX_FACTORS = 16;
constexpr int MAX_FIELDS = 64;
constexpr int MAX_SPARSE_TERMS = 64;

constexpr int64_t components_of(int lmax) { return int64_t{lmax + 1} * (lmax + 1); }

// Whether all channels have the same function, so that its parts are made once a batch index.
template <class T>
bool is_shared(const Operand<T>& operand) {
  return operand.channel_stride == 0;
}

// Vectors that hold the parts of a field: of one ring, or of all where they are kept.
template <class T>
int64_t parts_of(const FormsJob<T>& job, const Field& field) {
  const int64_t rings = is_shared(job.functions[field.function]) ? 2 * job.ring_pairs : 1;
  return rings * PARTS * job.azimuths;
}

// Evaluates the columns first <= column < last for T = float and double; first is a multiple of the
// vector's width, `scratch` is aligned to WIDEST_VECTOR and as large as the driver reckons.
EQUINET_DECLARE(template <class T> void evaluate_forms(const FormsJob<T>&, int64_t first,
                                                       int64_t last, void* scratch))

}  // namespace equinet
