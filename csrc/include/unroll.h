// Loops whose bounds are known at compile time.
#pragma once

template <int N>
struct Int {
  static constexpr int value = N;
  constexpr operator int() const { return N; }
};

template <int...>
struct Numbers {};

template <class, class>
struct Joined;
template <int... A, int... B>
struct Joined<Numbers<A...>, Numbers<B...>> {
  using type = Numbers<A..., sizeof...(A) + B...>;
};

// Numbers<0, ..., N - 1>.
template <int N>
struct Count {
  using type = typename Joined<typename Count<N / 2>::type, typename Count<N - N / 2>::type>::type;
};
template <>
struct Count<0> {
  using type = Numbers<>;
};
template <>
struct Count<1> {
  using type = Numbers<0>;
};

template <int FIRST, class F, int... N>
EQUITENSOR_DEVICE void unroll(const F& body, Numbers<N...>) {
  (body(Int<FIRST + N>{}), ...);
}

// body(Int<FIRST>), ..., body(Int<LAST - 1>); none where LAST is not above FIRST.
template <int FIRST, int LAST, class F>
EQUITENSOR_DEVICE void unroll(const F& body) {
  unroll<FIRST>(body, typename Count<(LAST > FIRST ? LAST - FIRST : 0)>::type{});
}
