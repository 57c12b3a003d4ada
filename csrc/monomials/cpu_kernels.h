// Entry points of the kernels behind equinet::monomial_sum and equinet::monomial_weights; the form
// that they compute is in form.h.
#pragma once

#include <stdint.h>

#include "../common/isa.h"
#include "../common/vectors.h"
#include "form.h"

namespace equinet {

template <class T>
struct MonomialJob {
  const T* weights;                   // [kinds, terms, channels]; null for the sum over nodes
  const int64_t* kinds;               // [nodes]
  const T* features[MAX_FEATURES];    // [nodes, components, channels] each
  int64_t components[MAX_FEATURES];
  int factors;                        // features that are multiplied
  const int64_t* table;               // [terms, columns]
  int64_t columns, terms, nodes, channels;
  int64_t size;                       // components of the result of the sum over terms
  T* result;                          // [nodes, size, channels] or [kinds, terms, channels]
};

// Amount of working memory, aligned to WIDEST_VECTOR, that is enough for both kernels.
template <class T>
int64_t monomial_scratch(int64_t size) {
  return 4 * size * WIDEST_VECTOR / int64_t(sizeof(T));
}

// Sums over terms at the nodes first <= n < last, and sums over nodes at the terms first <= t <
// last, which are added to the result.
EQUINET_DECLARE(
    template <class T> void sum_monomials(const MonomialJob<T>&, int64_t, int64_t, T* scratch);
    template <class T> void weigh_monomials(const MonomialJob<T>&, int64_t, int64_t, T* scratch))

}  // namespace equinet
