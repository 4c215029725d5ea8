// Adds two vectors on a GPU and compares the sum with the processor's. Exits with 0 if it is right.
#include <hip/hip_runtime.h>

#include <cstdio>
#include <vector>

__global__ void add(const float *a, const float *b, float *sum, int count) {
  int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i < count) sum[i] = a[i] + b[i];
}

static bool failed(hipError_t error, const char *what) {
  if (error == hipSuccess) return false;
  std::printf("%s: %s\n", what, hipGetErrorString(error));
  return true;
}

int main() {
  const int count = 1 << 16;
  const size_t bytes = count * sizeof(float);
  std::vector<float> a(count), b(count), sum(count);
  for (int i = 0; i < count; i++) {
    a[i] = i;
    b[i] = 2 * i + 1;
  }
  float *da = nullptr, *db = nullptr, *dsum = nullptr;
  if (failed(hipMalloc((void **)&da, bytes), "hipMalloc") || failed(hipMalloc((void **)&db, bytes), "hipMalloc") ||
      failed(hipMalloc((void **)&dsum, bytes), "hipMalloc") ||
      failed(hipMemcpy(da, a.data(), bytes, hipMemcpyHostToDevice), "hipMemcpy to the GPU") ||
      failed(hipMemcpy(db, b.data(), bytes, hipMemcpyHostToDevice), "hipMemcpy to the GPU"))
    return 1;
  add<<<(count + 255) / 256, 256>>>(da, db, dsum, count);
  if (failed(hipGetLastError(), "starting a kernel") || failed(hipDeviceSynchronize(), "waiting for a kernel") ||
      failed(hipMemcpy(sum.data(), dsum, bytes, hipMemcpyDeviceToHost), "hipMemcpy from the GPU"))
    return 1;
  for (int i = 0; i < count; i++) {
    if (sum[i] != a[i] + b[i]) {
      std::printf("element %d is %g and should be %g\n", i, sum[i], a[i] + b[i]);
      return 1;
    }
  }
  std::printf("the sum is right\n");
  return 0;
}
