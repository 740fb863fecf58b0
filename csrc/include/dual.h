// Dual numbers: a value and its tangent (forward-mode derivative).
#pragma once

template <class T>
struct Dual {
  T value, tangent;
};

template <class T>
EQUITENSOR_DEVICE Dual<T> operator+(const Dual<T>& a, const Dual<T>& b) {
  return {a.value + b.value, a.tangent + b.tangent};
}
template <class T>
EQUITENSOR_DEVICE Dual<T> operator*(const Dual<T>& a, const Dual<T>& b) {
  return {a.value * b.value, a.tangent * b.value + a.value * b.tangent};
}
template <class T>
EQUITENSOR_DEVICE Dual<T> operator*(T factor, const Dual<T>& b) {
  return {factor * b.value, factor * b.tangent};
}
template <class T>
EQUITENSOR_DEVICE void operator+=(Dual<T>& a, const Dual<T>& b) {
  a = a + b;
}

// What a kernel writes of a result: the value, or its tangent.
EQUITENSOR_DEVICE float result(float x) { return x; }
EQUITENSOR_DEVICE double result(double x) { return x; }
template <class T>
EQUITENSOR_DEVICE T result(const Dual<T>& x) {
  return x.tangent;
}

// T, or a dual number of T.
template <bool DUAL, class T>
struct Number {
  using type = T;
};
template <class T>
struct Number<true, T> {
  using type = Dual<T>;
};

// Reads a number; its tangent is zero where there is none.
template <class T>
EQUITENSOR_DEVICE void take(T& number, const T* at, const T*, Index place) {
  number = at[place];
}
template <class T>
EQUITENSOR_DEVICE void take(Dual<T>& number, const T* at, const T* tangent, Index place) {
  number = {at[place], tangent ? tangent[place] : T(0)};
}
