// How functions and loops are compiled that g++ and nvcc both take.
#pragma once

#ifdef __CUDACC__
#define EQUINET_INLINE __host__ __device__ __forceinline__
#define EQUINET_LAMBDA_INLINE
#else
#define EQUINET_INLINE inline __attribute__((always_inline))
#define EQUINET_LAMBDA_INLINE __attribute__((always_inline))
#endif
#ifdef __CUDA_ARCH__
#define EQUINET_UNROLL _Pragma("unroll")
#define EQUINET_NO_UNROLL _Pragma("unroll 1")
#elif defined(__CUDACC__)  // what nvcc compiles for the host is never run
#define EQUINET_UNROLL
#define EQUINET_NO_UNROLL
#else
#define EQUINET_UNROLL _Pragma("GCC unroll 32")
#define EQUINET_NO_UNROLL _Pragma("GCC unroll 1")
#endif
// What is in memory is to be read again from here on.
#define EQUINET_FORGET_MEMORY asm volatile("" ::: "memory")
