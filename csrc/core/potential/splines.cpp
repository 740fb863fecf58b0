// Radial functions and splines of them: see network.h.

#include <algorithm>
#include <cmath>

#include "network.h"

namespace equitensor {
namespace {

// Coefficients of the quintic through values f, first and second derivatives df and ddf (by t) at t = 0 and at t = 1.
void quintic(const double* f, const double* df, const double* ddf, double* a) {
  a[0] = f[0], a[1] = df[0], a[2] = 0.5 * ddf[0];
  const double value = f[1] - f[0] - a[1] - a[2], first = df[1] - a[1] - 2 * a[2], second = ddf[1] - 2 * a[2];
  a[3] = 10 * value - 4 * first + 0.5 * second;
  a[4] = -15 * value + 7 * first - second;
  a[5] = 6 * value - 3 * first + 0.5 * second;
}

Spline sampled(int width, double cutoff, int knots, const Functions& functions, double& error) {
  constexpr int CHUNK = PAD_BYTES / sizeof(float);
  const double h = cutoff / knots, t = 0.3;  // where derivatives err about most
  Spline made{knots, width, Aligned<float>(size_t(knots) * SPLINE_ROWS * width)};
  Array at, between;
  for (int k = 0; k <= knots; k++) at.push_back(k * h);
  for (int k = 0; k < knots; k += 2) between.push_back((k + t) * h);
  const size_t count = at.size() * width, tried = between.size() * width;
  Array f(3 * count), g(3 * tried);
  functions(static_cast<int>(at.size()), at.data(), f.data());
  functions(static_cast<int>(between.size()), between.data(), g.data());
  const double *df = f.data() + count, *ddf = df + count;
  double wrong = 0, size = 0;
  for (int k = 0; k < knots; k++)
    for (int j = 0; j < width; j++) {
      const size_t i = size_t(k) * width + j, next = i + width;
      const double values[2] = {f[i], f[next]}, first[2] = {h * df[i], h * df[next]},
                   second[2] = {h * h * ddf[i], h * h * ddf[next]};
      double a[SPLINE_ROWS];
      quintic(values, first, second, a);
      float* to = made.data.data() + (size_t(k) * width + j / CHUNK * CHUNK) * SPLINE_ROWS + j % CHUNK;
      for (int p = 0; p < SPLINE_ROWS; p++) to[p * CHUNK] = static_cast<float>(a[p]);
      if (k % 2) continue;
      const double interpolated = (a[1] + t * (2 * a[2] + t * (3 * a[3] + t * (4 * a[4] + t * 5 * a[5])))) / h,
                   exact = g[tried + size_t(k / 2) * width + j];
      wrong += (interpolated - exact) * (interpolated - exact), size += exact * exact;
    }
  error = size > 0 ? std::sqrt(wrong / size) : 0;
  return made;
}

}  // namespace

void bessel_functions(double d, double cutoff, int R, double* out) {
  const double x = d / cutoff, angle = M_PI / cutoff, norm = std::sqrt(2 / cutoff), x4 = x * x * x * x, rest = 1 - x;
  const double u = x < 1 ? 1 + x4 * x * x * (-28 + x * (48 - 21 * x)) : 0,
               du = x < 1 ? -168 * x4 * x * rest * rest / cutoff : 0;
  const double ddu = x < 1 ? -168 * x4 * rest * (5 - 7 * x) / (cutoff * cutoff) : 0;
  for (int n = 0; n < R; n++) {
    const double k = (n + 1) * angle, y = k * d, y2 = y * y;
    double b, db, ddb;
    if (y > 0.05) {
      b = norm * std::sin(y) / d;
      db = (norm * k * std::cos(y) - b) / d;
      ddb = -k * k * b - 2 * db / d;
    } else {  // sin(y) / y and its derivatives near zero
      b = norm * k * (1 - y2 / 6 * (1 - y2 / 20 * (1 - y2 / 42)));
      db = -norm * k * k * y / 3 * (1 - y2 / 10 * (1 - y2 / 28));
      ddb = -norm * k * k * k / 3 * (1 - 3 * y2 / 10 * (1 - 5 * y2 / 84));
    }
    out[n] = b, out[R + n] = db, out[2 * R + n] = ddb;
    out[3 * R + n] = u * b, out[4 * R + n] = u * db + du * b, out[5 * R + n] = u * ddb + 2 * du * db + ddu * b;
  }
}

Spline spline(int width, double cutoff, int knots, const Functions& functions) {
  double error = 0;
  for (knots = std::max(knots, 64);; knots += 32) {
    Spline made = sampled(width, cutoff, knots, functions, error);
    if (!(error >= 5e-7) || knots >= 1024) return made;  // not a number, where weights are huge, would get no better
  }
}

}  // namespace equitensor
