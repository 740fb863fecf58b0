// Radial functions and splines of them: see network.h.

#include <algorithm>
#include <cmath>

#include "network.h"

namespace equitensor {
namespace {

// Weights of the rise, of both first and both second derivatives in a quintic's derivative, at t of an interval.
void derivative_weights(double t, double* w) {
  const double t2 = t * t, t3 = t2 * t, t4 = t3 * t;
  w[0] = 30 * t2 - 60 * t3 + 30 * t4;
  w[1] = 1 - 18 * t2 + 32 * t3 - 15 * t4;
  w[2] = -12 * t2 + 28 * t3 - 15 * t4;
  w[3] = t - 4.5 * t2 + 6 * t3 - 2.5 * t4;
  w[4] = 1.5 * t2 - 4 * t3 + 2.5 * t4;
}

Spline sampled(int width, double cutoff, int knots, const Functions& functions, double& error) {
  constexpr int CHUNK = PAD_BYTES / sizeof(float), ROWS = SPLINE_ROWS;
  const double h = cutoff / knots, middle = 0.3;  // where derivatives err about most
  Spline made{knots, width, Aligned<float>(size_t(knots + 1) * ROWS * width), {}};
  Array at, between;
  for (int k = 0; k <= knots; k++) at.push_back(k * h);
  for (int k = 0; k < knots; k += 2) between.push_back((k + middle) * h);
  const size_t count = at.size() * width, tried = between.size() * width;
  Array f(3 * count), g(3 * tried);
  functions(static_cast<int>(at.size()), at.data(), f.data());
  functions(static_cast<int>(between.size()), between.data(), g.data());
  const double *df = f.data() + count, *ddf = df + count;
  for (int k = 0; k <= knots; k++)
    for (int j = 0; j < width; j++) {
      const size_t i = size_t(k) * width + j;
      float* to = made.data.data() + (size_t(k) * width + j / CHUNK * CHUNK) * ROWS + j % CHUNK;
      to[0] = static_cast<float>(f[i]);
      to[CHUNK] = k < knots ? static_cast<float>(f[i + width] - f[i]) : 0.0f;
      to[2 * CHUNK] = static_cast<float>(df[i] * h);
      to[3 * CHUNK] = static_cast<float>(ddf[i] * h * h);
    }
  double w[5], wrong = 0, size = 0;
  derivative_weights(middle, w);
  for (size_t b = 0; b < between.size(); b++)
    for (int j = 0; j < width; j++) {
      const size_t k = 2 * b * width + j, next = k + width;
      const double found =
          w[0] * (f[next] - f[k]) / h + w[1] * df[k] + w[2] * df[next] + (w[3] * ddf[k] + w[4] * ddf[next]) * h;
      const double exact = g[tried + b * width + j];
      wrong += (found - exact) * (found - exact), size += exact * exact;
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
