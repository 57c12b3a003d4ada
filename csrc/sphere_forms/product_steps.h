// Steps that evaluate a set of forms by compiled kernels: one launch for each term.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "product_column.h"

namespace equinet {

// coefficient * first * second, or their bracket, in one output; lmax_first >= lmax_second.
struct ProductStep {
  bool is_sparse;
  bool is_bracket;
  bool adds;  // whether it adds to the result of an earlier step
  double coefficient;
  int first;
  int second;
  int output;
};

template <int L1, int L2, int L3>
struct Degrees {};

// Calls f(Degrees<l1, l2, l3>{}) if that product is compiled as a sparse one; l1 >= l2.
template <bool IS_BRACKET, class T, int CODE = 0, class F>
void with_sparse_degrees(int l1, int l2, int l3, const F& f) {
  constexpr int N = COUPLINGS_LMAX + 1;
  if constexpr (CODE < N * N * N) {
    constexpr int L1 = CODE / (N * N), L2 = CODE / N % N, L3 = CODE % N;
    if constexpr (has_sparse_kernel<IS_BRACKET, T>(L1, L2, L3) && L1 >= L2) {
      if (l1 == L1 && l2 == L2 && l3 == L3) return f(Degrees<L1, L2, L3>{});
    }
    with_sparse_degrees<IS_BRACKET, T, CODE + 1>(l1, l2, l3, f);
  }
}

template <class T, int L1, int L2, int L3, class F>
void try_sampled_degrees(int l1, int l2, int l3, const F& f) {
  if constexpr (has_sampled_product<T>(L1, L2, L3)) {
    if (l1 == L1 && l2 == L2 && l3 == L3) f(Degrees<L1, L2, L3>{});
  }
}

// Calls f(Degrees<l1, l2, l3>{}) if that product is compiled with values on rings.
template <class T, int L = 2, class F>
void with_sampled_degrees(int l1, int l2, int l3, const F& f) {
  if constexpr (L <= 8) {
    try_sampled_degrees<T, L, L, L>(l1, l2, l3, f);
    try_sampled_degrees<T, L, L, 2 * L>(l1, l2, l3, f);
    try_sampled_degrees<T, 2 * L, L, L>(l1, l2, l3, f);
    with_sampled_degrees<T, L + 1>(l1, l2, l3, f);
  }
}

// Returns the steps of forms, or none if a term has no compiled kernel. Sums in half precision have
// no steps either, because they would be rounded after each step.
template <class T>
std::vector<ProductStep> product_steps(const std::string& forms, const std::vector<int>& lmax,
                                       const std::vector<int>& lmax_out, bool is_half) {
  std::vector<ProductStep> steps;
  int written = -1;
  for (const ParsedTerm& term : parse_forms(forms, int(lmax.size()))) {
    if (term.functions.size() != 2) return {};
    ProductStep step{};
    step.is_bracket = term.is_bracket;
    step.adds = term.output == written;
    step.coefficient = term.coefficient;
    step.first = term.functions[0];
    step.second = term.functions[1];
    step.output = term.output;
    if (lmax[step.first] < lmax[step.second]) {
      std::swap(step.first, step.second);
      if (step.is_bracket) step.coefficient = -step.coefficient;
    }
    const int l1 = lmax[step.first], l2 = lmax[step.second], l3 = lmax_out[step.output];
    step.is_sparse = step.is_bracket ? has_sparse_kernel<true, T>(l1, l2, l3)
                                     : has_sparse_kernel<false, T>(l1, l2, l3);
    const bool is_sampled = !step.is_bracket && has_sampled_product<T>(l1, l2, l3);
    if (!(step.is_sparse || is_sampled) || (step.adds && is_half)) return {};
    written = term.output;
    steps.push_back(step);
  }
  return steps;
}

}  // namespace equinet
