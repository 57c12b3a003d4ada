// Energies and their gradient by the scalars of atoms, for one instruction set.

#include "cpu_kernels.h"

#include <cmath>
#include <vector>

#include "../interaction/cpu_matrix.h"

namespace equinet {
namespace EQUINET_ISA {

template <class T>
void read_out(const ReadoutJob<T>& job, T* values) {
  const int64_t channels = job.channels, hidden = job.hidden;
  if (hidden == 0) {
    for (int64_t atom = 0; atom < job.atoms; ++atom) {
      T energy = T{0};
      for (int64_t i = 0; i < channels; ++i) {
        energy += job.weights[i] * job.scalars[atom * channels + i];
        job.gradient[atom * channels + i] = job.weights[i];
      }
      job.energies[atom] += double(energy);
    }
    return;
  }
  std::vector<int64_t> rows(job.atoms);
  for (int64_t atom = 0; atom < job.atoms; ++atom) rows[atom] = atom;
  const Factors<T> into = {job.scalars, channels, 1, job.transposed, channels};
  multiply(&into, 1, rows.data(), job.atoms, hidden, values, hidden);
  for (int64_t atom = 0; atom < job.atoms; ++atom) {
    T energy = T{0};
    for (int64_t i = 0; i < hidden; ++i) {
      T& value = values[atom * hidden + i];
      const T gate = T{1} / (T{1} + std::exp(-value));
      energy += job.weights[i] * gate * value;
      value = job.weights[i] * gate * (T{1} + value * (T{1} - gate));
    }
    job.energies[atom] += double(energy);
  }
  const Factors<T> back = {values, hidden, 1, job.matrix, hidden};
  multiply(&back, 1, rows.data(), job.atoms, channels, job.gradient, channels);
}

template void read_out(const ReadoutJob<float>&, float*);
template void read_out(const ReadoutJob<double>&, double*);

}  // namespace EQUINET_ISA
}  // namespace equinet
