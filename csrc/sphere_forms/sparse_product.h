// Products and brackets of low degree: every nonzero coupling is one unrolled fused multiply-add.
//
// Couplings are sorted by the pair of components of the operands, so that each product of two
// components is computed once. If both operands have the same degree, (i, j) and (j, i) have equal
// couplings (of opposite sign in a bracket): both products are summed before they are multiplied by
// the coupling, which halves the number of couplings.
#pragma once

#include <utility>

#include "couplings.h"
#include "transform.h"

namespace equinet {

constexpr int COUPLINGS_SIZE = (COUPLINGS_LMAX + 1) * (COUPLINGS_LMAX + 1);

// Degrees that are compiled: all below 4, and 4 with itself. Above, a transform is less work.
constexpr bool has_sparse_product(int l1, int l2, int l3) {
  return (l1 < 4 && l2 < 4 && l3 < 4) || (l1 == 4 && l2 == 4 && l3 == 4);
}

struct DenseCouplings {
  double values[COUPLINGS_SIZE][COUPLINGS_SIZE][COUPLINGS_SIZE];
};

template <bool IS_BRACKET>
constexpr DenseCouplings dense_couplings() {
  DenseCouplings dense{};
  if constexpr (IS_BRACKET) {
    for (const Coupling& c : BRACKET_COUPLINGS) {
      dense.values[c.i][c.j][c.k] = dense.values[c.j][c.k][c.i] = dense.values[c.k][c.i][c.j] =
          c.value;
      dense.values[c.j][c.i][c.k] = dense.values[c.i][c.k][c.j] = dense.values[c.k][c.j][c.i] =
          -c.value;
    }
  } else {
    for (const Coupling& c : GAUNT_COUPLINGS) {
      dense.values[c.i][c.j][c.k] = dense.values[c.j][c.k][c.i] = dense.values[c.k][c.i][c.j] =
          c.value;
      dense.values[c.j][c.i][c.k] = dense.values[c.i][c.k][c.j] = dense.values[c.k][c.j][c.i] =
          c.value;
    }
  }
  return dense;
}

template <int CAPACITY>
struct CouplingList {
  Coupling entries[CAPACITY > 0 ? CAPACITY : 1];
};

// Couplings of three degrees, sorted by i, j, k; i <= j if both operands have the same degree.
template <bool IS_BRACKET, int L1, int L2, int L3>
struct CouplingsOf {
  static constexpr int D1 = (L1 + 1) * (L1 + 1), D2 = (L2 + 1) * (L2 + 1), D3 = (L3 + 1) * (L3 + 1);
  static constexpr bool IS_MIRRORED = L1 == L2;

  static constexpr int count() {
    const DenseCouplings dense = dense_couplings<IS_BRACKET>();
    int found = 0;
    for (int i = 0; i < D1; ++i)
      for (int j = IS_MIRRORED ? i : 0; j < D2; ++j)
        for (int k = 0; k < D3; ++k) found += dense.values[i][j][k] != 0;
    return found;
  }

  static constexpr int COUNT = count();

  static constexpr CouplingList<COUNT> make() {
    const DenseCouplings dense = dense_couplings<IS_BRACKET>();
    CouplingList<COUNT> list{};
    int found = 0;
    for (int i = 0; i < D1; ++i)
      for (int j = IS_MIRRORED ? i : 0; j < D2; ++j)
        for (int k = 0; k < D3; ++k)
          if (dense.values[i][j][k] != 0) list.entries[found++] = {i, j, k, dense.values[i][j][k]};
    return list;
  }

  static constexpr CouplingList<COUNT> LIST = make();
};

#ifdef EQUINET_ISA
namespace EQUINET_ISA {
#endif

template <bool IS_BRACKET, class Couplings, int N, class T, class V>
EQUINET_INLINE void couple(const V* x, const V* y, V& product, V* z) {
  constexpr Coupling now = Couplings::LIST.entries[N];
  constexpr Coupling before = Couplings::LIST.entries[N > 0 ? N - 1 : 0];
  if constexpr (N == 0 || now.i != before.i || now.j != before.j) {
    product = x[now.i] * y[now.j];
    if constexpr (Couplings::IS_MIRRORED && now.i != now.j) {
      if constexpr (IS_BRACKET) product -= x[now.j] * y[now.i];
      else product += x[now.j] * y[now.i];
    }
  }
  z[now.k] += static_cast<T>(now.value) * product;
}

template <bool IS_BRACKET, class Couplings, class T, class V, int... N>
EQUINET_INLINE void couple_all(const V* x, const V* y, V* z, std::integer_sequence<int, N...>) {
  V product = V{};
  (couple<IS_BRACKET, Couplings, N, T>(x, y, product, z), ...);
}

// Computes the product, or the bracket, of x and y.
template <bool IS_BRACKET, int L1, int L2, int L3, class T, class V>
EQUINET_INLINE void sparse_product(
    [[maybe_unused]] const V* x, [[maybe_unused]] const V* y, V* z) {
  using Couplings = CouplingsOf<IS_BRACKET, L1, L2, L3>;
  EQUINET_UNROLL
  for (int k = 0; k < Couplings::D3; ++k) z[k] = V{};
  if constexpr (Couplings::COUNT > 0) {
    couple_all<IS_BRACKET, Couplings, T>(
        x, y, z, std::make_integer_sequence<int, Couplings::COUNT>{});
  }
}

#ifdef EQUINET_ISA
}  // namespace EQUINET_ISA
#endif
}  // namespace equinet
