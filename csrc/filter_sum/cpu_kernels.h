// Entry points of the kernels behind equinet::filter_sum and equinet::filter_correlation; the form
// that they compute is in form.h.
#pragma once

#include <stdint.h>

#include "../common/isa.h"
#include "../common/vectors.h"
#include "form.h"

namespace equinet {

// Harmonics of the points. Without them (null) the points are the components lm themselves and H is
// the identity, for features of degree 0: u has one point, which all components share.
template <class T>
struct FilterTable {
  const T* values;  // H [degrees^2, stride], zero from `half` on; aligned to WIDEST_VECTOR
  int64_t stride;   // a multiple of WIDEST_VECTOR
  int64_t half;     // pairs of opposite points
};

template <class T>
struct FilterSumJob {
  const T* harmonics[MAX_FILTERS];  // Y [E, degrees^2]
  const T* radial[MAX_FILTERS];     // r [E, degrees, channels]
  int filters;
  FilterTable<T> table;
  int64_t degrees, channels;
  const T* samples;                 // u [sources, points, channels]
  T* sums;                          // [targets, points, channels]
  const int64_t* starts;            // [targets + 1], where a target's edges begin in `edges`
  const int64_t* edges;             // [E], sorted by target
  int64_t edge_count;
  const int64_t* sources;           // [E], in the order of Y and r
};

template <class T>
struct FilterCorrelationJob {
  const T* harmonics;               // Y [E, degrees^2], or null
  const T* radial;                  // r [E, degrees, channels], or null
  FilterTable<T> table;
  int64_t degrees, channels;
  const T* u;                       // [sources, points, channels]
  const T* v;                       // [targets, points, channels]
  const int64_t* sources;           // [E]
  const int64_t* targets;           // [E]
  T* by_harmonics;                  // result of the shape of Y, if r is given
  T* by_radial;                     // result of the shape of r, if Y is given
};

// Amount of working memory, aligned to WIDEST_VECTOR, that is enough for every kernel.
template <class T>
int64_t filter_scratch(const FilterTable<T>& table, int64_t degrees, int64_t channels) {
  const int64_t widest = WIDEST_VECTOR / sizeof(T), components = degrees * degrees;
  const int64_t points = table.values ? 2 * table.half : components;
  const int64_t rows = (points + 2 * MAX_TERMS) * (channels + 8 * widest);
  const int64_t vectors = MAX_TERMS * table.stride + components + 4 * widest;
  return rows + vectors * (widest + 2);
}

// Sums at the targets first <= i < last: on a grid, from one point to components, and from
// components to one point.
EQUINET_DECLARE(
    template <class T> void sum_on_grid(const FilterSumJob<T>&, int64_t, int64_t, T* scratch);
    template <class T> void sum_to_components(const FilterSumJob<T>&, int64_t, int64_t, T* scratch);
    template <class T> void sum_of_components(const FilterSumJob<T>&, int64_t, int64_t,
                                              T* scratch))

// Derivatives at the edges first <= e < last, on a grid and for u of one point.
EQUINET_DECLARE(template <class T> void correlate_on_grid(const FilterCorrelationJob<T>&, int64_t,
                                                          int64_t, T* scratch);
                template <class T> void correlate_components(const FilterCorrelationJob<T>&,
                                                             int64_t, int64_t, T* scratch))

}  // namespace equinet
