#include "model.h"

#include <cmath>
#include <cstdio>
#include <memory>
#include <stdexcept>

#include "error_bars.h"
#include "json.h"
#include "safetensors.h"

namespace equitensor {
namespace {

constexpr int FORMAT = 3, FORMAT_WITH_D3 = 4;
constexpr int64_t MOST_RADIAL_FUNCTIONS = 1 << 14;  // their splines and what is sampled for them take 1 GiB
const char* const KNOWN[] = {"architecture", "cutoff",        "channels",    "edge_channels", "lmax",
                             "layers",       "gathered",      "correlation", "product",       "num_radial",
                             "smoothness",   "num_neighbors", "zbl",         "normalized",    "repulsion"};
const char* const CONVENTION = "e3nn-0.6";

[[noreturn]] void fail(const std::string& what) { throw std::runtime_error(what); }

void check_header(const Json& header) {
  const long format = header.integer("format", 0, 1000000);
  if (format < FORMAT)
    fail("is of model format " + std::to_string(format) +
         ", before evaluation without torch: load and save it with equitensor " +
         "(Python: equitensor.models.save(equitensor.load(old), new))");
  if (format > FORMAT_WITH_D3)
    fail("is of model format " + std::to_string(format) + ", this reads up to " + std::to_string(FORMAT_WITH_D3) +
         ": upgrade equitensor");
  const std::string convention = header.at("harmonics", Json::string).text;
  if (convention != CONVENTION)
    fail("uses the harmonics convention \"" + convention + "\", this \"" + CONVENTION + "\"");
}

// The dispersion that was taken off the labels, "" where they were whole.
std::string dispersion(const Json& header) {
  const bool named = header.find("d3") || header.integer("format", 0, 1000000) == FORMAT_WITH_D3;
  const std::string name = named ? header.at("d3", Json::string).text : "";
  if (named && name.empty()) fail("its \"d3\" is empty");
  return name;
}

void check_settings(const Json& settings) {
  const std::string architecture = settings.at("architecture", Json::string).text;
  if (architecture != "directional")
    fail("is of architecture \"" + architecture +
         "\"; without torch only \"directional\" is evaluated: use the torch backend");
  for (const auto& member : settings.members) {
    bool known = false;
    for (const char* name : KNOWN) known |= member.first == name;
    if (!known) fail("has a setting \"" + member.first + "\" that this does not know: upgrade equitensor");
  }
}

double real(const Json& object, const std::string& name) {
  const double value = object.at(name, Json::number).value;
  if (!std::isfinite(value)) fail("its \"" + name + "\" is not finite");
  return value;
}

void read_sizes(Model& m, const Json& header, const Json& settings) {
  m.cutoff = real(header, "cutoff");
  if (!(m.cutoff > 0.1 && m.cutoff < 1000)) fail("its cutoff is " + std::to_string(m.cutoff) + " Angstrom");
  m.scale = real(header, "scale");
  m.shift = real(header, "shift");
  if (settings.find("zbl")) m.zbl = settings.at("zbl", Json::boolean).value != 0;
  const Json* normalized = settings.find("normalized");
  if (normalized && normalized->kind != Json::null) m.normalized = settings.at("normalized", Json::boolean).value != 0;
  const Json* repulsion = settings.find("repulsion");
  m.repulsion = repulsion && repulsion->kind != Json::null && settings.at("repulsion", Json::boolean).value != 0;
  m.lmax = static_cast<int>(settings.integer("lmax", 0, 8));
  m.channels = static_cast<int>(settings.integer("channels", 1, 4096));
  m.edge_channels = static_cast<int>(settings.integer("edge_channels", 1, 4096));
  m.layers = static_cast<int>(settings.integer("layers", 1, 16));
  m.correlation = static_cast<int>(settings.integer("correlation", 1, 8));
  m.num_radial = static_cast<int>(settings.integer("num_radial", 1, 256));
  const Json* gathered = settings.find("gathered");
  m.gathered = gathered && gathered->kind == Json::number ? static_cast<int>(settings.integer("gathered", 1, 8192))
                                                          : 2 * m.channels;
  const int64_t functions = int64_t(m.layers) * (m.gathered + m.edge_channels);
  if (functions > MOST_RADIAL_FUNCTIONS)
    fail("has " + std::to_string(functions) + " radial functions; without torch at most " +
         std::to_string(MOST_RADIAL_FUNCTIONS) + " are evaluated: use the torch backend");
  const Json& e0s = header.at("e0s", Json::object);
  for (const Json& item : header.at("elements", Json::array).items) {
    const bool known = item.kind == Json::number && item.value >= 1 && item.value <= 118;
    const int z = known ? static_cast<int>(item.value) : 0;
    if (!known || item.value != z || (!m.elements.empty() && z <= m.elements.back()))
      fail("its elements are not atomic numbers in rising order");
    m.elements.push_back(z);
    m.e0s.push_back(real(e0s, std::to_string(z)));
  }
  if (m.elements.empty()) fail("knows no element");
}

// n^-smoothness with mean square 1, rounded as in training: (num_radial,).
std::vector<float> smoothness_prior(int num, double smoothness) {
  Array prior(num);
  double square = 0;
  for (int n = 0; n < num; n++) square += std::pow(prior[n] = std::pow(n + 1.0, -smoothness), 2);
  std::vector<float> rounded(num);
  for (int n = 0; n < num; n++) rounded[n] = static_cast<float>(prior[n] / std::sqrt(square / num));
  return rounded;
}

void multiply_rows(Array& matrix, const std::vector<float>& factor) {
  const size_t columns = matrix.size() / factor.size();
  for (size_t i = 0; i < matrix.size(); i++) matrix[i] *= factor[i / columns];
}

ProductWeights read_product(const Model& m, const Tensors& tensors, const std::string& name, bool invariants) {
  ProductWeights product;
  const int order = invariants ? m.correlation - m.correlation / 2 : m.correlation;  // of the powers that are formed
  const std::string table = name + ".coefficients.weight", weight = name + ".powers.interaction.weight";
  if (invariants)
    product.coefficients = tensors.read(table, {m.num_elements(), m.correlation, m.channels});
  else
    product.coefficients = tensors.read(table, {m.num_elements(), m.correlation, m.lmax + 1, m.channels});
  if (m.paths && order > 1) product.paths = tensors.read(weight, {int64_t(m.paths) * m.channels});
  return product;
}

// Whether the paths of its product have weights: those of some families (Gaunt) have none.
bool weighted(const Tensors& tensors) { return tensors.any_ends_in(".powers.interaction.weight"); }

void read_coupling(Model& m, const Tensors& tensors) {
  const std::vector<int64_t> index = tensors.integers("coupling.index", 4);
  const size_t count = index.size() / 4;
  const Array values = tensors.read("coupling.coefficients", {static_cast<int64_t>(count)});
  const int64_t d = m.components();
  for (size_t t = 0; t < count; t++) {
    const int64_t out = index[t], first = index[count + t], second = index[2 * count + t], path = index[3 * count + t];
    if (out < 0 || out >= d || first < 0 || first >= d || second < 0 || second >= d || path < 0 || path >= 100000)
      fail("its \"coupling.index\" names a component that does not exist");
    m.paths = std::max<int>(m.paths, static_cast<int>(path) + 1);
    m.coupling.push_back(
        {static_cast<int>(out), static_cast<int>(first), static_cast<int>(second), static_cast<int>(path), values[t]});
  }
}

void read_weights(Model& m, const Tensors& t, double smoothness, double num_neighbors) {
  const int64_t n = m.num_elements(), c = m.edge_channels, C = m.channels, G = m.gathered, R = m.num_radial,
                degrees = m.lmax + 1;
  const std::string root = "backbone.";
  if (m.repulsion) m.begins = t.read("repulsion.begins", {n, n});
  for (double distance : m.begins)
    if (!(distance > 0)) fail("its \"repulsion.begins\" has a distance that is not above 0");
  const std::vector<float> prior = smoothness_prior(m.num_radial, smoothness);
  std::vector<float> density_prior = prior;
  for (float& value : density_prior) value *= static_cast<float>(std::pow(num_neighbors, -0.5));
  m.sender = t.read(root + "embedding.sender.weight", {n, c});
  m.receiver = t.read(root + "embedding.receiver.weight", {n, c});
  m.radial = t.read(root + "embedding.radial", {R, c});
  m.bias = t.read(root + "embedding.bias", {c});
  m.out = t.read(root + "embedding.out", {c, c});
  multiply_rows(m.radial, prior);
  for (int r = 0; r < m.layers; r++) {
    const bool last = r == m.layers - 1;
    const std::string round = root + "rounds." + std::to_string(r) + ".", density = (last ? root : round) + "density.";
    DensityWeights own;
    own.radial = t.read(density + "radial", {R, G});
    own.message = t.read(density + "message", {c, G});
    own.mix = t.read(density + "mix.weight", {degrees, G, C});
    multiply_rows(own.radial, density_prior);
    m.densities.push_back(own);
    if (last) continue;
    ProductWeights product = read_product(m, t, round + "product", false);
    product.energy = t.read(round + "energy", {C, 1});
    m.products.push_back(product);
    UpdateWeights update;
    update.radial = t.read(round + "update.radial", {R, c});
    update.angular = t.read(round + "update.angular.weight", {degrees, C, c});
    update.message = t.read(round + "update.message", {c, c});
    update.scalars = t.read(round + "update.scalars", {C, c});
    update.bias = t.read(round + "update.bias", {c});
    update.out = t.read(round + "update.out", {c, c});
    multiply_rows(update.radial, prior);
    // Not the (-1)^l of the reverse edge: here an edge is read out along itself.
    for (int64_t i = 0; i < degrees * C * c; i++)
      update.angular[i] *= 1.0f / static_cast<float>(std::sqrt(double(degrees)));
    m.updates.push_back(update);
  }
  m.invariants = read_product(m, t, root + "invariants", true);
  m.mix = t.read(root + "mix", {C, C});
  m.head = t.read(root + "head", {C, C});
  m.head_out = t.read(root + "head_out", {C, 1});
}

}  // namespace

Model read_model(const char* bytes, size_t size) {
  const Tensors tensors(bytes, size);
  if (tensors.header.empty()) fail("holds no equitensor header: give the model.eqt of a run");
  const Json header = parse_json(tensors.header.data(), tensors.header.size());
  check_header(header);
  const Json& settings = header.at("settings", Json::object);
  check_settings(settings);
  Model model;
  model.header = tensors.header;
  model.d3 = dispersion(header);
  read_sizes(model, header, settings);
  const std::string product = settings.at("product", Json::string).text;
  const double neighbors = real(settings, "num_neighbors");
  if (!(neighbors > 0)) fail("its num_neighbors is " + std::to_string(neighbors));
  model.num_neighbors = neighbors;
  if (!tensors.has("coupling.index"))
    fail("has no tensor \"coupling.index\": its product \"" + product + "\" is one for the torch backend");
  read_coupling(model, tensors);
  if (!weighted(tensors)) model.paths = 0;
  read_weights(model, tensors, real(settings, "smoothness"), neighbors);
  const Json* bars = header.find("error_bars");
  if (bars && bars->kind != Json::null)
    model.error_bars = std::make_shared<ErrorBars>(tensors, model.num_elements(), model.num_features());
  return model;
}

std::string read_file(const std::string& path) {
  std::unique_ptr<FILE, int (*)(FILE*)> file(std::fopen(path.c_str(), "rb"), std::fclose);
  if (!file) fail("there is no such model file");
  std::string bytes;
  char part[1 << 16];
  for (size_t count; (count = std::fread(part, 1, sizeof part, file.get())) > 0;) bytes.append(part, count);
  if (std::ferror(file.get())) fail("cannot be read");
  return bytes;
}

}  // namespace equitensor
