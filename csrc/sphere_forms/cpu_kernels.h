// Entry point of the kernels that evaluate forms on the sphere.
#pragma once

#include "../common/isa.h"
#include "job.h"

namespace equinet {

// Largest numbers of factors in a term, of fields, and of terms of low degree. Third derivatives of
// products need fewer.
constexpr int MAX_FACTORS = 16;
constexpr int MAX_FIELDS = 64;
constexpr int MAX_SPARSE_TERMS = 64;

constexpr int64_t components_of(int lmax) { return int64_t{lmax + 1} * (lmax + 1); }

// Whether all channels have the same function, whose parts are computed once for each batch index.
template <class T>
bool is_shared(const Operand<T>& operand) {
  return operand.channel_stride == 0;
}

// Number of vectors for the parts of a field: of one ring, or of all rings if they are kept.
template <class T>
int64_t parts_of(const FormsJob<T>& job, const Field& field) {
  const int64_t rings = is_shared(job.functions[field.function]) ? 2 * job.ring_pairs : 1;
  return rings * PARTS * job.azimuths;
}

// Evaluates the columns first <= column < last for T = float and double. `first` is a multiple of
// the width of a vector; `scratch` is aligned to WIDEST_VECTOR and has the size that the driver
// computes.
EQUINET_DECLARE(template <class T> void evaluate_forms(const FormsJob<T>&, int64_t first,
                                                       int64_t last, void* scratch))

}  // namespace equinet
