#include "simd.h"
#include "number.h"
#include "edge_form.inl"
#include "channel_product.inl"
#include "density_product.inl"
#include "degree_linear.inl"
#include "edge_geometry.inl"
#include "silu.inl"
EQUITENSOR_TABLE
