// Entry point of the kernel that reads energies out of the scalars of atoms.
#pragma once

#include <stdint.h>

#include "../common/isa.h"

namespace equinet {

// An energy is linear in the scalars, w x, or by an MLP with one hidden layer, w silu(M x).
template <class T>
struct ReadoutJob {
  const T* scalars;            // x [atoms, channels]
  int64_t atoms, channels, hidden;
  const T *matrix, *transposed;  // M [hidden, channels] and [channels, hidden]; null without hidden
  const T* weights;            // w [hidden] or [channels]
  double* energies;            // [atoms], which are added to
  T* gradient;                 // [atoms, channels]
};

// Amount of working memory that is enough for the kernel.
template <class T>
int64_t readout_scratch(const ReadoutJob<T>& job) {
  return job.atoms * job.hidden;
}

EQUINET_DECLARE(template <class T> void read_out(const ReadoutJob<T>&, T* scratch))

}  // namespace equinet
