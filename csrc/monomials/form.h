// The multilinear form behind equinet::monomial_sum and equinet::monomial_weights.
//
// With weights w[kind, t, c] and features x_1 … x_F[node, i, c] it is
//
//   T(w, x_1 … x_F) = sum over nodes n, terms t and channels c of
//       w[kind(n), t, c] x_1[n, table[t, 1], c] … x_F[n, table[t, F], c].
//
// monomial_sum is its derivative by the last feature, whose components the last column of the table
// names; monomial_weights is its derivative by the weights. Each derivative of one is a call of one
// of them again, with the columns of the table in another order.
#pragma once

namespace equinet {

// Largest number of features of a form: three factors and the result.
constexpr int MAX_FEATURES = 4;

}  // namespace equinet
