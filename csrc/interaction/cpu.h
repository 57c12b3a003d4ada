// The ops equinet::interaction and equinet::interaction_gradient as functions, for other ops on the
// CPU.
//
// The weights of a layer are 15 tensors: `rows` of the radial splines; matrices `up`, `down` and
// `update` [l, in, out], which mix channels before and after the convolution and after the powers,
// and `residual` [species, l, in, out] for the features read; `powers` [species, power, l,
// channels]; the four kinds of matrices transposed; matrices from coefficients to samples and back
// for the convolution, and the harmonics of the filter at the first half of the points; and such
// matrices for the powers. The last five are empty where features are of degree 0, and where there
// are no powers.
#pragma once

#include "../filter_sum/call.h"

namespace equinet {

using Tensors = std::vector<Tensor>;

constexpr int LAYER_WEIGHTS = 15;
enum LayerWeight {
  ROWS,
  UP,
  DOWN,
  UPDATE,
  RESIDUAL,
  POWERS,
  TRANSPOSED,  // the first of four, in the order of the matrices
  FILTER_GRID = TRANSPOSED + 4,
  POWER_GRID = FILTER_GRID + 3,
};

// New features, and the tape for the gradient: radial weights, samples and densities.
Tensors interaction(const Tensor& features, const Tensor& lengths, const Tensor& harmonics,
                    const Tensor& sender, const Tensor& receiver, const Tensor& species,
                    Tensors weights, double cutoff);

// Gradients by lengths, by harmonics and, if asked for, by the features that are read.
Tensors interaction_gradient(const Tensor& gradient, Tensors tape, const Tensor& lengths,
                             const Tensor& harmonics, const Tensor& sender, const Tensor& receiver,
                             const Tensor& species, Tensors weights, double cutoff, bool by_seen);

}  // namespace equinet
