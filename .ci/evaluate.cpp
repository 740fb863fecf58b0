// The evaluator outside of Python, for sanitizers: models over structures, damaged model files, two threads at once.
//
//     evaluate models   FOLDER          every model (*.eqt) over every structure, by every set of instructions
//     evaluate damaged  FOLDER COUNT    COUNT damaged copies of the models are read, and evaluated if they can be
//     evaluate threads  FOLDER          two threads with systems of one model, and of two
//
// Every array has exactly the size that the header asks for, so that a sanitizer sees a read beyond it.

#include "../csrc/core/potential.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <memory>
#include <random>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

namespace {

using Random = std::mt19937_64;
using Doubles = std::vector<double>;

[[noreturn]] void fail(const std::string& what) { throw std::runtime_error(what); }

double uniform(Random& random, double from, double to) { return std::uniform_real_distribution<double>(from, to)(random); }
size_t below(Random& random, size_t count) { return std::uniform_int_distribution<size_t>(0, count - 1)(random); }

// Atoms and their neighbours, images as shifts or as ghosts; `owner` of every atom.
struct Structure {
  std::string name;
  int64_t owned = 0;
  std::vector<int32_t> z, sender;
  std::vector<int64_t> start, owner;
  Doubles pos, shift;
  bool shifted = false;
  int64_t total() const { return static_cast<int64_t>(z.size()); }
};

void add_atom(Structure& s, int32_t z, int64_t owner, double x, double y, double w) {
  s.z.push_back(z), s.owner.push_back(owner);
  for (double value : {x, y, w}) s.pos.push_back(value);
}

// All pairs nearer than `reach` of atoms in a box of rows `cell` (or none), with images as shifts or as ghosts.
Structure listed(const std::string& name, const std::vector<int32_t>& z, const Doubles& pos, const double (*cell)[3], double reach, bool ghosts) {
  Structure s{name, static_cast<int64_t>(z.size()), {}, {}, {0}, {}, {}, {}, cell && !ghosts};
  for (size_t i = 0; i < z.size(); i++) add_atom(s, z[i], i, pos[3 * i], pos[3 * i + 1], pos[3 * i + 2]);
  const int most = cell ? 3 : 0;
  std::vector<int64_t> image(z.size() * 343, -1);
  for (size_t i = 0; i < z.size(); i++) {
    for (size_t j = 0; j < z.size(); j++)
      for (int a = -most; a <= most; a++)
        for (int b = -most; b <= most; b++)
          for (int c = -most; c <= most; c++) {
            if (i == j && !a && !b && !c) continue;
            double by[3] = {0, 0, 0}, square = 0;
            for (int k = 0; k < 3; k++) {
              if (cell) by[k] = a * cell[0][k] + b * cell[1][k] + c * cell[2][k];
              const double d = pos[3 * i + k] - pos[3 * j + k] + by[k];
              square += d * d;
            }
            if (square >= reach * reach) continue;
            int64_t from = static_cast<int64_t>(j);
            if (ghosts && (a || b || c)) {
              int64_t& known = image[j * 343 + (a + 3) * 49 + (b + 3) * 7 + c + 3];
              if (known < 0) {
                known = s.total();
                add_atom(s, z[j], from, pos[3 * j] - by[0], pos[3 * j + 1] - by[1], pos[3 * j + 2] - by[2]);
              }
              from = known;
            }
            s.sender.push_back(static_cast<int32_t>(from));
            if (s.shifted) s.shift.insert(s.shift.end(), by, by + 3);
          }
    s.start.push_back(static_cast<int64_t>(s.sender.size()));
  }
  s.sender.shrink_to_fit(), s.pos.shrink_to_fit(), s.shift.shrink_to_fit(), s.z.shrink_to_fit(), s.start.shrink_to_fit();
  return s;
}

// Of the elements that a model knows: a lattice that is off its sites, as a cluster, as a crystal with images as shifts and
// as ghosts, with atoms that take no part; a cell of one atom; lone atoms; none.
std::vector<Structure> structures(const std::vector<int32_t>& elements, double reach, Random& random) {
  const double a = 2.6, cell[3][3] = {{2 * a, 0, 0}, {0.7, 2 * a, 0}, {-1.1, 0.4, 2 * a}}, small[3][3] = {{0, a, a}, {a, 0, a}, {a, a, 0}};
  std::vector<int32_t> z;
  Doubles pos;
  for (int i = 0; i < 8; i++) {
    z.push_back(elements[below(random, elements.size())]);
    for (int k = 0; k < 3; k++)
      pos.push_back((i & 1) * cell[0][k] / 2 + (i >> 1 & 1) * cell[1][k] / 2 + (i >> 2) * cell[2][k] / 2 + uniform(random, -0.2, 0.2));
  }
  std::vector<int32_t> some = z;
  some[0] = some[5] = 0;
  const Doubles apart = {0, 0, 0, 3 * reach, 0, 0}, origin = {0, 0, 0};
  const std::vector<int32_t> two = {elements.front(), elements.back()}, one = {elements.front()};
  const double skin = reach + 0.7;
  return {listed("cluster", z, pos, nullptr, skin, false),       listed("crystal", z, pos, cell, skin, false),
          listed("ghosts", z, pos, cell, skin, true),            listed("some", some, pos, cell, skin, false),
          listed("some with ghosts", some, pos, cell, skin, true), listed("one in a cell", one, origin, small, skin, false),
          listed("lone", two, apart, nullptr, skin, false),      listed("none", {}, {}, nullptr, skin, false),
          listed("no part", {0, 0}, {0, 0, 0, 1, 0, 0}, nullptr, skin, false)};
}

struct Exchange {
  const Structure* structure;
  int calls = 0;

  template <class T>
  void forward(T* rows, int width) const {
    for (int64_t k = structure->owned; k < structure->total(); k++) std::copy_n(rows + structure->owner[k] * width, width, rows + k * width);
  }
  template <class T>
  void reverse(T* rows, int width) const {
    for (int64_t k = structure->owned; k < structure->total(); k++)
      for (int c = 0; c < width; c++) rows[structure->owner[k] * width + c] += rows[k * width + c];
  }
};

int forward(void* context, void* rows, int width, int precision) {
  auto* exchange = static_cast<Exchange*>(context);
  exchange->calls++;
  precision == 32 ? exchange->forward(static_cast<float*>(rows), width) : exchange->forward(static_cast<double*>(rows), width);
  return 0;
}

int reverse(void* context, void* rows, int width, int precision) {
  auto* exchange = static_cast<Exchange*>(context);
  exchange->calls++;
  precision == 32 ? exchange->reverse(static_cast<float*>(rows), width) : exchange->reverse(static_cast<double*>(rows), width);
  return 0;
}

struct ModelCloser {
  void operator()(equitensor_model* model) const { equitensor_model_close(model); }
};
struct SystemCloser {
  void operator()(equitensor_system* system) const { equitensor_system_free(system); }
};
using Model = std::unique_ptr<equitensor_model, ModelCloser>;
using System = std::unique_ptr<equitensor_system, SystemCloser>;

Model opened(const std::string& bytes) {  // from an array of exactly that size
  const std::unique_ptr<char[]> copy(new char[bytes.size()]);
  std::memcpy(copy.get(), bytes.data(), bytes.size());
  equitensor_model* model = nullptr;
  return Model(equitensor_model_read(copy.get(), static_cast<int64_t>(bytes.size()), &model) ? nullptr : model);
}

System made(const Model& model, int precision, int threads, const char* instructions) {
  equitensor_system* system = nullptr;
  if (equitensor_system_new_with(model.get(), precision, threads, instructions, &system)) fail(equitensor_message());
  return System(system);
}

struct Evaluated {
  double energy = 0;
  Doubles energies, forces, features;  // forces and virials of ghosts are added to their owners'
  Doubles virials;
  Doubles forces_std, novelty, energy_std;  // empty without error bars
};

// False where the evaluator refuses, with its reason in equitensor_message().
bool evaluated(const Model& model, const System& system, const Structure& s, bool everything, Evaluated& out) {
  if (equitensor_system_neighbors(system.get(), s.owned, s.total(), s.z.data(), s.start.data(), s.sender.data())) return false;
  Doubles forces(3 * s.total()), virials(6 * s.total());
  out.energies.assign(s.owned, 0), out.features.assign(everything ? s.owned * equitensor_model_num_features(model.get()) : 0, 0);
  equitensor_result result{};
  result.forces = forces.data();
  if (everything) result.energies = out.energies.data(), result.virials = virials.data(), result.features = out.features.data();
  Doubles sums(everything ? equitensor_model_num_sums(model.get()) : 0);
  out.forces_std.assign(sums.empty() ? 0 : s.owned, -1), out.novelty = out.forces_std;
  if (!sums.empty()) result.forces_std = out.forces_std.data(), result.novelty = out.novelty.data(), result.sums = sums.data();
  Exchange context{&s};
  const equitensor_exchange exchange{&context, s.owned, forward, reverse, nullptr};
  const bool has_ghosts = s.total() > s.owned;
  if (equitensor_system_evaluate(system.get(), s.pos.data(), s.shifted ? s.shift.data() : nullptr, has_ghosts ? &exchange : nullptr, &result)) return false;
  out.energy = result.energy;
  out.energy_std.assign(sums.empty() ? 0 : 1, sums.empty() ? 0 : equitensor_model_energy_std(model.get(), sums.data()));
  out.forces.assign(3 * s.owned, 0), out.virials.assign(6 * s.owned, 0);
  for (int64_t k = 0; k < s.total(); k++) {
    for (int a = 0; a < 3; a++) out.forces[3 * s.owner[k] + a] += forces[3 * k + a];
    for (int a = 0; a < 6; a++) out.virials[6 * s.owner[k] + a] += virials[6 * k + a];
  }
  return true;
}

void compare(const std::string& what, const Doubles& actual, const Doubles& expected, double tolerance) {
  double largest = 1;
  for (double value : expected)
    if (std::isfinite(value)) largest = std::max(largest, std::fabs(value));
  if (actual.size() != expected.size()) fail(what + ": other sizes");
  for (size_t k = 0; k < actual.size(); k++)
    if (actual[k] != expected[k] && !(std::fabs(actual[k] - expected[k]) <= tolerance * largest))  // infinite ones are equal
      fail(what + ": " + std::to_string(actual[k]) + " at " + std::to_string(k) + ", not " + std::to_string(expected[k]));
}

void compare(const std::string& what, const Evaluated& actual, const Evaluated& expected, double tolerance) {
  compare(what + ", energy", Doubles{actual.energy}, Doubles{expected.energy}, tolerance);
  compare(what + ", energies", actual.energies, expected.energies, tolerance);
  compare(what + ", forces", actual.forces, expected.forces, tolerance);
  compare(what + ", virials", actual.virials, expected.virials, tolerance);
  compare(what + ", features", actual.features, expected.features, tolerance);
  compare(what + ", forces_std", actual.forces_std, expected.forces_std, tolerance);
  compare(what + ", novelty", actual.novelty, expected.novelty, tolerance);
  compare(what + ", energy_std", actual.energy_std, expected.energy_std, tolerance);
}

std::vector<int32_t> elements_of(const Model& model) {
  const int32_t* first = equitensor_model_elements(model.get());
  return {first, first + equitensor_model_num_elements(model.get())};
}

std::vector<std::string> files(const std::string& folder, std::vector<std::string>* names = nullptr) {
  std::vector<std::filesystem::path> paths;
  for (const auto& entry : std::filesystem::directory_iterator(folder))
    if (entry.path().extension() == ".eqt") paths.push_back(entry.path());
  std::sort(paths.begin(), paths.end());
  std::vector<std::string> contents;
  for (const auto& path : paths) {
    std::ifstream file(path, std::ios::binary);
    contents.emplace_back(std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>());
    if (names) names->push_back(path.filename().string());
  }
  if (contents.empty()) fail(folder + " holds no *.eqt");
  return contents;
}

void models(const std::string& folder) {
  std::vector<std::string> names;
  const std::vector<std::string> all = files(folder, &names);
  size_t evaluations = 0;
  for (size_t k = 0; k < all.size(); k++) {
    const Model model = opened(all[k]);
    if (!model) fail(names[k] + ": " + equitensor_message());
    Random random(k);
    const std::vector<Structure> kinds = structures(elements_of(model), equitensor_model_cutoff(model.get()), random);
    for (int precision : {64, 32}) {
      const double tolerance = precision == 64 ? 1e-10 : 2e-4;
      std::vector<Evaluated> expected(kinds.size());
      bool first = true;
      for (int which = 0; const char* instructions = equitensor_instructions(which); which++)
        for (int threads : {1, 2}) {
          const System system = made(model, precision, threads, instructions);
          for (size_t s = 0; s < kinds.size(); s++) {
            const std::string what = names[k] + ", " + kinds[s].name + ", " + instructions + ", float" + std::to_string(precision) + ", threads " + std::to_string(threads);
            Evaluated actual, less;
            if (!evaluated(model, system, kinds[s], true, actual)) fail(what + ": " + equitensor_message());
            if (!evaluated(model, system, kinds[s], false, less)) fail(what + ": " + equitensor_message());
            compare(what + ", once more", less.forces, actual.forces, 0);
            if (first) expected[s] = actual;
            compare(what, actual, expected[s], tolerance);
            evaluations += 2;
          }
          first = false;
          compare(names[k] + ", ghosts", expected[2], expected[1], tolerance);
          compare(names[k] + ", some with ghosts", expected[4], expected[3], tolerance);
        }
    }
  }
  std::printf("%zu models, %zu evaluations\n", all.size(), evaluations);
}

size_t length_of_header(const std::string& bytes) {
  uint64_t length = 0;
  for (int i = 7; i >= 0; i--) length = length << 8 | static_cast<unsigned char>(bytes[i]);
  return 8 + static_cast<size_t>(length);
}

// Replaces one number of the header by another text.
void renumber(std::string& bytes, Random& random) {
  static const char* const texts[] = {"0", "1", "2", "3", "-1", "7", "118", "119", "4096", "65536", "2147483647", "2147483648", "4294967296", "9007199254740993", "18446744073709551615", "1e308", "-1e308", "1e999", "0.5", "1e-320", "null", "[]", "{}", "\"1\"", "true"};
  const size_t size = length_of_header(bytes);
  std::vector<std::pair<size_t, size_t>> numbers;
  for (size_t i = 8; i < size;) {
    size_t end = i;
    while (end < size && (std::isdigit(static_cast<unsigned char>(bytes[end])) || (end > i && std::strchr("e.+-", bytes[end])))) end++;
    if (end > i) numbers.emplace_back(i, end - i);
    i = end + 1;
  }
  if (numbers.empty()) return;
  const auto place = numbers[below(random, numbers.size())];
  bytes.replace(place.first, place.second, texts[below(random, std::size(texts))]);
}

std::string damaged(const std::string& whole, Random& random) {
  std::string bytes = whole;
  const size_t size = length_of_header(whole), data = whole.size() - size;
  switch (below(random, 9)) {
    case 0:  // cut short
      bytes.resize(below(random, whole.size()));
      break;
    case 1:  // cut short within the header's first bytes or just before the end
      bytes.resize(random() % 2 ? below(random, 16) : whole.size() - 1 - below(random, 16));
      break;
    case 2:  // any byte of the header
      for (size_t k = 1 + below(random, 4); k > 0; k--) bytes[8 + below(random, size - 8)] = static_cast<char>(random());
      break;
    case 3: {  // another number in the header, whose length follows
      const std::string before = bytes;
      renumber(bytes, random);
      const uint64_t length = size - 8 + bytes.size() - before.size();
      for (int i = 0; i < 8; i++) bytes[i] = static_cast<char>(length >> (8 * i));
      break;
    }
    case 4: {  // digits of the header
      std::vector<size_t> digits;
      for (size_t i = 8; i < size; i++)
        if (std::isdigit(static_cast<unsigned char>(bytes[i]))) digits.push_back(i);
      for (size_t k = 1 + below(random, 3); k > 0; k--) bytes[digits[below(random, digits.size())]] = "0123456789-e."[below(random, 13)];
      break;
    }
    case 5:  // bits of the weights
      for (size_t k = 1 + below(random, 8); k > 0; k--) bytes[size + below(random, data)] ^= static_cast<char>(1 << below(random, 8));
      break;
    case 6:  // whole numbers and huge ones among the weights and the coupling's table
      for (size_t k = 1 + below(random, 4); k > 0; k--) {
        static const uint32_t words[] = {0xFFFFFFFFu, 0x7F7FFFFFu, 0x7F800000u, 0x7FFFFFFFu, 0x80000000u, 1u, 25u, 0x00010000u, 0x00000001u};
        const uint32_t word = words[below(random, std::size(words))];
        if (data >= 8) std::memcpy(&bytes[size + below(random, data / 4) * 4], &word, 4);
      }
      break;
    case 7: {  // a part over another
      const size_t from = 8 + below(random, whole.size() - 8), to = 8 + below(random, whole.size() - 8);
      const size_t count = std::min(1 + below(random, 64), whole.size() - std::max(from, to));
      std::memmove(&bytes[to], whole.data() + from, count);
      break;
    }
    default:  // the length of the header
      for (size_t k = 1 + below(random, 2); k > 0; k--) bytes[below(random, 8)] = static_cast<char>(random());
  }
  return bytes;
}

void damaged_files(const std::string& folder, size_t count) {
  const std::vector<std::string> all = files(folder);
  size_t refused = 0, unevaluated = 0;
  for (size_t k = 0; k < count; k++) {
    Random random(k);
    const Model model = opened(damaged(all[k % all.size()], random));
    if (!model) {
      refused++;
      if (!*equitensor_message()) fail("a refusal without a reason");
      continue;
    }
    const double cutoff = equitensor_model_cutoff(model.get());
    std::vector<Structure> kinds = structures(elements_of(model), std::min(cutoff, 6.0), random);
    const int sets = [] {
      int count = 0;
      while (equitensor_instructions(count)) count++;
      return count;
    }();
    const System system = made(model, random() % 2 ? 32 : 64, 1 + static_cast<int>(random() % 2), equitensor_instructions(static_cast<int>(random() % sets)));
    for (size_t s : {1 + below(random, 3), below(random, kinds.size())}) {
      Evaluated actual;
      unevaluated += !evaluated(model, system, kinds[s], random() % 2, actual);
    }
  }
  std::printf("%zu damaged files: %zu refused, %zu evaluated, of which %zu evaluations were refused\n", count, refused, count - refused, unevaluated);
  if (refused < count / 4 || refused == count) fail("the damage is not what it should be");
}

void threads(const std::string& folder) {
  const std::vector<std::string> all = files(folder);
  const Model first = opened(all[0]), second = opened(all[all.size() / 2]);
  const Model* const of[] = {&first, &first, &second};
  const char* instructions = nullptr;  // the last: only those of the baseline are built for ThreadSanitizer
  for (int which = 0; equitensor_instructions(which); which++) instructions = equitensor_instructions(which);
  std::string failures[3];
  std::vector<std::thread> running;
  for (int t = 0; t < 3; t++)
    running.emplace_back([&, t] {
      try {
        Random random(t);
        const Model& model = *of[t];
        const std::vector<Structure> kinds = structures(elements_of(model), equitensor_model_cutoff(model.get()), random);
        for (int precision : {32, 64}) {
          const System system = made(model, precision, 1, instructions);
          std::vector<Evaluated> before(kinds.size());
          for (int again = 0; again < 3; again++)
            for (size_t s = 0; s < kinds.size(); s++) {
              Evaluated actual;
              if (!evaluated(model, system, kinds[s], true, actual)) fail(equitensor_message());
              if (again) compare("thread " + std::to_string(t), actual, before[s], 0);
              before[s] = actual;
              equitensor_model* none = nullptr;
              const std::string cut = all[t].substr(0, 10 + t);
              if (!equitensor_model_read(cut.data(), static_cast<int64_t>(cut.size()), &none)) fail("a cut file was read");
              if (std::string(equitensor_message()).empty()) fail("a refusal without a reason");
            }
        }
      } catch (const std::exception& error) {
        failures[t] = error.what();
      }
    });
  for (auto& thread : running) thread.join();
  for (const auto& failure : failures)
    if (!failure.empty()) fail(failure);
  std::printf("3 threads, 2 models\n");
}

}  // namespace

int main(int count, char** words) {
  const std::string what = count > 2 ? words[1] : "";
  try {
    if (what == "models" && count == 3)
      models(words[2]);
    else if (what == "damaged" && count == 4)
      damaged_files(words[2], std::strtoull(words[3], nullptr, 10));
    else if (what == "threads" && count == 3)
      threads(words[2]);
    else
      fail("say models FOLDER, damaged FOLDER COUNT, or threads FOLDER");
  } catch (const std::exception& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return 1;
  }
}
