/** The Mann-Whitney test: do two samples come from one distribution? It asks nothing of that distribution's shape. */

/** Where all ways to deal out the ranks are counted; beyond it the normal distribution is close enough. */
const EXACT = 40;

/**
 * The probability that two samples of one distribution differ at least as much as these do, in either direction. Equal values share
 * their ranks.
 */
export function rankTest(a: readonly number[], b: readonly number[]): number {
  if (a.length === 0 || b.length === 0) return 1;
  const ranks = doubledRanks([...a, ...b]);
  const sum = ranks.slice(0, a.length).reduce((total, rank) => total + rank, 0);
  return a.length + b.length <= EXACT ? exact(ranks, a.length, sum) : approximate(ranks, a.length, sum);
}

/** The least that {@link rankTest} can give for samples of these sizes without equal values. */
export function leastProbability(a: number, b: number): number {
  let ways = 1;
  for (let i = 1; i <= a; i++) ways = (ways * (b + i)) / i;
  return Math.min(1, 2 / ways);
}

/** Twice the rank of each value, so that shared ranks are whole numbers. */
function doubledRanks(values: readonly number[]): number[] {
  const order = values.map((_, i) => i).sort((i, j) => values[i] - values[j]);
  const ranks = Array.from<number>({ length: values.length });
  for (let from = 0; from < order.length;) {
    let to = from + 1;
    while (to < order.length && values[order[to]] === values[order[from]]) to++;
    for (let i = from; i < to; i++) ranks[order[i]] = from + 1 + to;
    from = to;
  }
  return ranks;
}

/** Counts the subsets of `size` ranks by their sum. */
function exact(ranks: readonly number[], size: number, sum: number): number {
  const most = ranks.reduce((total, rank) => total + rank, 0);
  const counts = Array.from({ length: size + 1 }, () => new Float64Array(most + 1));
  counts[0][0] = 1;
  for (const rank of ranks) {
    for (let k = size; k >= 1; k--) {
      for (let s = most; s >= rank; s--) counts[k][s] += counts[k - 1][s - rank];
    }
  }
  let [all, low, high] = [0, 0, 0];
  for (const [s, count] of counts[size].entries()) {
    all += count;
    if (s <= sum) low += count;
    if (s >= sum) high += count;
  }
  return Math.min(1, (2 * Math.min(low, high)) / all);
}

function approximate(ranks: readonly number[], size: number, sum: number): number {
  const n = ranks.length;
  const mean = (size * ranks.reduce((total, rank) => total + rank, 0)) / n;
  const average = mean / size;
  const spread = ranks.reduce((total, rank) => total + (rank - average) ** 2, 0);
  const variance = (size * (n - size) * spread) / (n * (n - 1));
  if (variance === 0) return 1;
  return 2 * upperTail(Math.abs(sum - mean) / Math.sqrt(variance));
}

/** Of the standard normal distribution; Abramowitz and Stegun, formula 26.2.17. */
function upperTail(z: number): number {
  const t = 1 / (1 + 0.2316419 * z);
  const series = [1.330274429, -1.821255978, 1.781477937, -0.356563782, 0.31938153];
  const polynomial = t * series.reduce((value, coefficient) => value * t + coefficient, 0);
  return (polynomial * Math.exp((-z * z) / 2)) / Math.sqrt(2 * Math.PI);
}
