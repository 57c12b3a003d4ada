// Plans of forms: tables and a list of steps, made from the text of forms and from degrees.
#pragma once

#include <algorithm>
#include <cmath>
#include <map>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "job.h"
#include "sparse_product.h"

namespace equinet {

// Plan of one set of forms, which does not depend on the sizes of operands; all calls share it.
struct SpherePlan {
  std::vector<Field> fields;
  std::vector<Term> terms;
  std::vector<SparseTerm> sparse_terms;
  std::vector<Output> outputs;
  std::vector<int> factors;
  std::vector<double> polar;
  std::vector<double> waves;
  int wave_stride = 0;
  int ring_pairs = 0;
  bool has_equator = false;
  int azimuths = 0;
};

// One product of functions, or the bracket of two, in one output.
struct ParsedTerm {
  int output = 0;
  double coefficient = 1;
  bool is_bracket = false;
  std::vector<int> functions;
};

// Reads forms such as "ab" (the product of the first two functions), "aa,2aab" (two outputs) or
// "ab+[ac]" (a product plus a bracket): letters a-z, A-Z name functions.
inline std::vector<ParsedTerm> parse_forms(const std::string& forms, int functions) {
  std::vector<ParsedTerm> terms;
  size_t at = 0;
  int output = 0;
  const auto complain = [&](const char* reason) {
    throw std::invalid_argument("forms \"" + forms + "\" at character " + std::to_string(at) +
                                ": " + reason);
  };
  const auto peek = [&] { return at < forms.size() ? forms[at] : '\0'; };
  const auto is_letter = [](char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); };
  const auto read_function = [&] {
    const char c = peek();
    if (!is_letter(c)) complain("a letter is missing");
    const int function = c >= 'a' ? c - 'a' : 26 + c - 'A';
    if (function >= functions) complain("there is no such function");
    ++at;
    return function;
  };
  while (true) {
    ParsedTerm term;
    term.output = output;
    if (peek() == '-') {
      term.coefficient = -1;
      ++at;
    }
    if (peek() >= '0' && peek() <= '9') {
      double number = 0;
      for (; peek() >= '0' && peek() <= '9'; ++at) number = 10 * number + (peek() - '0');
      term.coefficient *= number;
    }
    if (peek() == '[') {
      ++at;
      term.is_bracket = true;
      term.functions = {read_function()};
      term.functions.push_back(read_function());
      if (peek() != ']') complain("a bracket takes two functions");
      ++at;
    } else {
      term.functions = {read_function()};
      while (is_letter(peek())) term.functions.push_back(read_function());
    }
    terms.push_back(term);
    if (peek() == ',') ++output;
    else if (peek() == '\0') return terms;
    else if (peek() != '+') complain("expected '+', ',' or the end");
    ++at;
  }
}

// Nodes cos(beta) >= 0, descending, and weights of the Gauss-Legendre rule; the others mirror them.
inline void gauss_legendre(int count, std::vector<double>& nodes, std::vector<double>& weights) {
  for (int i = 0; i < (count + 1) / 2; ++i) {
    long double x = std::cos(3.14159265358979323846L * (i + 0.75L) / (count + 0.5L));
    long double slope = 0;
    for (int step = 0; step < 100; ++step) {
      long double previous = 0, value = 1;
      for (int l = 1; l <= count; ++l) {
        const long double next = ((2 * l - 1) * x * value - (l - 1) * previous) / l;
        previous = value;
        value = next;
      }
      slope = count * (previous - x * value) / (1 - x * x);
      const long double change = value / slope;
      x -= change;
      if (std::fabs(change) < 1e-19L) break;
    }
    if (2 * i + 1 == count) x = 0;
    nodes.push_back(static_cast<double>(x));
    weights.push_back(static_cast<double>(2 / ((1 - x * x) * slope * slope)));
  }
}

// Orthonormal polar factors Theta_lm(beta) [(lmax + 1), (lmax + 1)] by the stable recurrence.
inline std::vector<double> polar_factors(int lmax, double cos_beta) {
  const int n = lmax + 1;
  const long double x = cos_beta, sine = std::sqrt((1 - x) * (1 + x));
  std::vector<long double> theta(n * n, 0);
  theta[0] = 1 / std::sqrt(4 * 3.14159265358979323846L);
  for (int m = 0; m <= lmax; ++m) {
    if (m > 0) {
      theta[m * n + m] = std::sqrt((2.0L * m + 1) / (2 * m)) * sine * theta[(m - 1) * n + m - 1];
    }
    if (m < lmax) theta[(m + 1) * n + m] = std::sqrt(2.0L * m + 3) * x * theta[m * n + m];
    for (int l = m + 2; l <= lmax; ++l) {
      const long double a = std::sqrt((4.0L * l * l - 1) / (l * l - m * m));
      const long double b =
          std::sqrt(((l - 1.0L) * (l - 1) - m * m) / (4 * (l - 1.0L) * (l - 1) - 1));
      theta[l * n + m] = a * (x * theta[(l - 1) * n + m] - b * theta[(l - 2) * n + m]);
    }
  }
  return {theta.begin(), theta.end()};
}

// Polar factors of a quantity of real harmonics: m outer, l inner, the azimuth's sqrt(2) included.
inline void append_polar(int lmax, Quantity quantity, double cos_beta, double weight,
                         std::vector<double>& table) {
  const int n = lmax + 1;
  const double sine = std::sqrt((1 - cos_beta) * (1 + cos_beta));
  const std::vector<double> theta = polar_factors(lmax, cos_beta);
  for (int m = 0; m <= lmax; ++m) {
    for (int l = m; l <= lmax; ++l) {
      double factor = theta[l * n + m];
      if (quantity == RING_SLOPE) factor *= m / sine;
      if (quantity == MERIDIAN_SLOPE) {
        factor *= m * cos_beta / sine;
        if (m < l) factor -= std::sqrt(double(l - m) * (l + m + 1)) * theta[l * n + m + 1];
      }
      table.push_back(factor * weight * (m > 0 ? std::sqrt(2.0) : 1.0));
    }
  }
}

class SpherePlanner {
 public:
  SpherePlanner(const std::string& forms, std::vector<int> lmax, const std::vector<int>& lmax_out)
      : lmax_(std::move(lmax)), parsed_(parse_forms(forms, int(lmax_.size()))) {
    const int outputs = parsed_.back().output + 1;
    if (outputs != int(lmax_out.size())) {
      throw std::invalid_argument("forms \"" + forms + "\" has " + std::to_string(outputs) +
                                  " outputs, but lmax_out has " + std::to_string(lmax_out.size()) +
                                  " entries");
    }
    for (int degree : lmax_out) plan_.outputs.push_back({degree, 0, 0});
  }

  SpherePlan make() {
    if (!is_sparse()) return make_sampled();
    for (const ParsedTerm& term : parsed_) {
      plan_.sparse_terms.push_back({term.output, term.coefficient, term.is_bracket,
                                    term.functions[0], term.functions[1]});
    }
    return plan_;
  }

  // Makes a plan that uses samples even for low degrees.
  SpherePlan make_sampled() {
    for (const ParsedTerm& term : parsed_) {
      if (term.is_bracket) add_bracket(term);
      else add_product(term);
    }
    make_tables();
    return plan_;
  }

 private:
  // Whether every term is one of the unrolled products.
  bool is_sparse() const {
    for (const ParsedTerm& term : parsed_) {
      if (term.functions.size() != 2 ||
          !has_sparse_product(lmax_[term.functions[0]], lmax_[term.functions[1]],
                              plan_.outputs[term.output].lmax)) {
        return false;
      }
    }
    return true;
  }

  void add_product(const ParsedTerm& term) {
    std::vector<int> fields;
    int degree = plan_.outputs[term.output].lmax;
    for (int function : term.functions) {
      fields.push_back(field(function, VALUE));
      degree += lmax_[function];
    }
    degree_ = std::max(degree_, degree);
    add_term(term.output, term.coefficient, fields);
  }

  // f_beta g_alpha - f_alpha g_beta; the slopes lower the degree of the whole by one.
  void add_bracket(const ParsedTerm& term) {
    const int f = term.functions[0], g = term.functions[1];
    degree_ = std::max(degree_, plan_.outputs[term.output].lmax + lmax_[f] + lmax_[g] - 1);
    add_term(term.output, term.coefficient, {field(f, MERIDIAN_SLOPE), field(g, RING_SLOPE)});
    add_term(term.output, -term.coefficient, {field(f, RING_SLOPE), field(g, MERIDIAN_SLOPE)});
  }

  void add_term(int output, double coefficient, const std::vector<int>& fields) {
    plan_.terms.push_back({output, coefficient, int(plan_.factors.size()), int(fields.size())});
    plan_.factors.insert(plan_.factors.end(), fields.begin(), fields.end());
  }

  int field(int function, Quantity quantity) {
    const auto [found, is_new] =
        known_.try_emplace({function, int(quantity)}, int(plan_.fields.size()));
    if (is_new) plan_.fields.push_back({function, quantity, lmax_[function], 0, 0});
    return found->second;
  }

  // A rule of degree n has n / 2 + 1 latitudes. The number of azimuths is a multiple of four above
  // n; they are shifted by half a step, so that none lies on a mirror plane.
  void make_tables() {
    const double pi = 3.14159265358979323846;
    const int rings = degree_ / 2 + 1;
    plan_.ring_pairs = (rings + 1) / 2;
    plan_.has_equator = rings % 2 == 1;
    plan_.azimuths = degree_ / 4 + 1;
    std::vector<double> nodes, weights;
    gauss_legendre(rings, nodes, weights);
    int widest = 0;
    for (Field& field : plan_.fields) {
      widest = std::max(widest, field.lmax);
      field.polar = int64_t(plan_.polar.size());
      field.polar_stride = (field.lmax + 1) * (field.lmax + 2) / 2;
      for (double node : nodes) append_polar(field.lmax, field.quantity, node, 1, plan_.polar);
    }
    const double quarter = 2 * pi / plan_.azimuths, step = quarter / 4;
    for (Output& output : plan_.outputs) {
      widest = std::max(widest, output.lmax);
      output.polar = int64_t(plan_.polar.size());
      output.polar_stride = (output.lmax + 1) * (output.lmax + 2) / 2;
      for (size_t ring = 0; ring < nodes.size(); ++ring) {
        append_polar(output.lmax, VALUE, nodes[ring], weights[ring] * quarter, plan_.polar);
      }
    }
    plan_.wave_stride = 2 * (widest + 1);
    for (int j = 0; j < plan_.azimuths; ++j) {
      for (int m = 0; m <= widest; ++m) {
        plan_.waves.push_back(std::cos(m * (j + 0.5) * step));
        plan_.waves.push_back(std::sin(m * (j + 0.5) * step));
      }
    }
  }

  std::vector<int> lmax_;
  std::vector<ParsedTerm> parsed_;
  SpherePlan plan_;
  std::map<std::pair<int, int>, int> known_;
  int degree_ = 0;
};

}  // namespace equinet
