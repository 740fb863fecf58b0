// A number and its derivative along a tangent.
#pragma once

template <class T>
struct Dual {
  T value, along;
};

template <class T>
EQUITENSOR_DEVICE Dual<T> operator+(const Dual<T>& a, const Dual<T>& b) {
  return {a.value + b.value, a.along + b.along};
}
template <class T>
EQUITENSOR_DEVICE Dual<T> operator*(const Dual<T>& a, const Dual<T>& b) {
  return {a.value * b.value, a.along * b.value + a.value * b.along};
}
template <class T>
EQUITENSOR_DEVICE Dual<T> operator*(T factor, const Dual<T>& b) {
  return {factor * b.value, factor * b.along};
}
template <class T>
EQUITENSOR_DEVICE void operator+=(Dual<T>& a, const Dual<T>& b) {
  a = a + b;
}

// What a kernel writes of a result: the number, or its derivative.
EQUITENSOR_DEVICE float result(float x) { return x; }
EQUITENSOR_DEVICE double result(double x) { return x; }
template <class T>
EQUITENSOR_DEVICE T result(const Dual<T>& x) {
  return x.along;
}

// T, or T with its derivative.
template <bool ALONG, class T>
struct Number {
  using type = T;
};
template <class T>
struct Number<true, T> {
  using type = Dual<T>;
};

// Reads a number; its derivative is zero where no tangent is given.
template <class T>
EQUITENSOR_DEVICE void take(T& number, const T* at, const T*, Index place) {
  number = at[place];
}
template <class T>
EQUITENSOR_DEVICE void take(Dual<T>& number, const T* at, const T* along, Index place) {
  number = {at[place], along ? along[place] : T(0)};
}
