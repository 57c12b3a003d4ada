// Entry point of the kernels that evaluate forms on the sphere.
#pragma once

#include "../common/sphere_forms.h"
#include "isa.h"

namespace equinet {

// Most factors in one term.
constexpr int MAX_FACTORS = 16;

// Evaluates the lanes first <= lane < last for T = float and double; first is a multiple of the
// vector's width, `scratch` is aligned to 64 bytes and as large as the driver reckons.
EQUINET_DECLARE(template <class T> void evaluate_forms(const FormsJob<T>&, int64_t first,
                                                       int64_t last, void* scratch))

}  // namespace equinet
