// Products of each small shape by ONNX Runtime's kernel for RISC-V's vectors, against sums in double.
// Prints how many there were and the largest error over the number of terms; ends with 1 where it
// writes beside its rows and columns.
#include <cmath>
#include <cstdio>
#include <vector>

size_t MlasSgemmKernelRvv(const float*, const float*, float*, size_t, size_t, size_t, size_t, size_t,
                          float, bool);

int main() {
  unsigned long state = 1;
  const auto value = [&] {
    state = state * 6364136223846793005ul + 1442695040888963407ul;
    return float((state >> 40) & 0xffff) / 65536.f - 0.5f;
  };
  double worst = 0;
  int count = 0;
  for (size_t m = 1; m <= 9; m++)
    for (size_t n : {1, 2, 15, 16, 17, 31, 32, 33, 48, 63})
      for (size_t k : {1, 2, 3, 4, 5, 8, 130}) {
        const bool zero = ++count % 2;
        const float alpha = count % 3 ? 1.f : -0.5f;
        const size_t lda = k + 3, ldc = n + 5, panels = (n + 15) / 16;
        std::vector<float> a(m * lda), b(panels * k * 16), c(m * ldc);
        for (auto& one : a) one = value();
        for (auto& one : c) one = value();
        for (size_t column = 0; column < n; column++)
          for (size_t row = 0; row < k; row++)
            b[column / 16 * k * 16 + row * 16 + column % 16] = value();
        const std::vector<float> before = c;
        const size_t rows = MlasSgemmKernelRvv(a.data(), b.data(), c.data(), k, m, n, lda, ldc, alpha, zero);
        if (rows < 1 || rows > m) return 1;
        for (size_t row = 0; row < m; row++)
          for (size_t column = 0; column < ldc; column++) {
            const float found = c[row * ldc + column], old = before[row * ldc + column];
            if (row >= rows || column >= n) {
              if (found != old) return 1;
              continue;
            }
            double sum = 0;
            for (size_t i = 0; i < k; i++)
              sum += double(a[row * lda + i]) * b[column / 16 * k * 16 + i * 16 + column % 16];
            worst = std::fmax(worst, std::fabs(alpha * sum + (zero ? 0 : old) - found) / k);
          }
      }
  std::printf("%d %g\n", count, worst);
}
