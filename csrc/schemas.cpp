// The schema of every op of the native engine. Kernels are registered in other files, by device.
#include <torch/csrc/stable/library.h>

STABLE_TORCH_LIBRARY(equinet, m) {
  // Instruction set that the CPU kernels use in this process: "baseline", "avx2" or "avx512".
  m.def("cpu_capability() -> str");

  // A contiguous copy of an int64 or float64 tensor of the given shape; another type or shape is
  // refused by the name given.
  m.def("as_declared(Tensor input, str name, bool is_integer, SymInt[] shape) -> Tensor");

  // Sums of products (and brackets) of functions on the sphere, projected on degrees: an einsum of
  // functions. See sphere_forms/plan.h for the grammar of `forms`.
  m.def("sphere_forms(Tensor[] functions, str forms, SymInt[] lmax_out) -> Tensor[]");

  // The sum over edges of the convolution, with one filter or two, and its derivatives by the
  // filter; filter_sum/form.h has the form behind both.
  m.def(
      "filter_sum(Tensor harmonics, Tensor radial, Tensor? other_harmonics, Tensor? other_radial, "
      "Tensor samples, Tensor? table, Tensor source, Tensor target, SymInt targets) -> Tensor");
  m.def(
      "filter_correlation(Tensor? harmonics, Tensor? radial, Tensor u, Tensor v, Tensor? table, "
      "Tensor source, Tensor target) -> (Tensor, Tensor)");

  // Sums of weighted monomials in the components of features of a node, and the derivative by the
  // weights; monomials/form.h has the form behind both.
  m.def(
      "monomial_sum(Tensor weights, Tensor kind, Tensor a, Tensor? b, Tensor? c, Tensor table, "
      "SymInt components) -> Tensor");
  m.def(
      "monomial_weights(Tensor kind, Tensor a, Tensor? b, Tensor? c, Tensor? d, Tensor table, "
      "SymInt kinds) -> Tensor");

  // Values of splines at the lengths of edges, and the sum of their slopes with weights; the rows
  // are explained in radial_spline/cpu_kernels.h.
  m.def("radial_spline(Tensor distances, Tensor rows, float spacing) -> Tensor");
  m.def(
      "radial_spline_slope(Tensor distances, Tensor rows, float spacing, Tensor weights) -> "
      "Tensor");

  // Lengths and harmonics of vectors, and the gradient by the vectors from those by lengths and
  // harmonics.
  m.def("edge_harmonics(Tensor vectors, SymInt lmax) -> (Tensor, Tensor)");
  m.def("edge_gradient(Tensor vectors, Tensor by_length, Tensor by_harmonics) -> Tensor");

  // A layer of message passing at fixed weights, and its gradient. Results are the features and
  // what the gradient needs again, and the gradients by lengths, harmonics and, if asked for, the
  // features read; interaction/cpu.h explains the weights.
  m.def(
      "interaction(Tensor features, Tensor lengths, Tensor harmonics, Tensor sender, "
      "Tensor receiver, Tensor species, Tensor[] weights, float cutoff) -> Tensor[]");
  m.def(
      "interaction_gradient(Tensor gradient, Tensor[] tape, Tensor lengths, Tensor harmonics, "
      "Tensor sender, Tensor receiver, Tensor species, Tensor[] weights, float cutoff, "
      "bool by_seen) -> Tensor[]");

  // Energies of atoms and, if asked for, forces and virial, by a network of such layers.
  m.def(
      "gaunt_network(Tensor positions, Tensor cells, Tensor batch, Tensor sender, "
      "Tensor receiver, Tensor shifts, Tensor species, Tensor embedding, Tensor[] weights, "
      "Tensor[] readouts, float cutoff, bool gradient) -> Tensor[]");
}
