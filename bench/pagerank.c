/* SPDX-License-Identifier: Apache-2.0 */
/*
 * pagerank SCALE ROUNDS: ROUNDS rounds of PageRank on a Kronecker graph of 2^SCALE vertices
 * and 16 times as many edges, with the weights of Graph500: 0.57, 0.19, 0.19, 0.05.
 *
 * The edges are drawn vertex by vertex, so that they are made in the order in which they are
 * read; what a round reads at random is the ranks.
 */
#include "bench/bench.h"

#define FACTOR	16U
#define DAMPING 0.85

struct graph {
	uint32_t nr, scale;
	uint64_t *first; /* of each vertex: where the edges to it begin */
	uint32_t *from;	 /* of each edge */
	uint32_t *out;	 /* of each vertex: edges that leave it */
};

/* How many edges go to vertex V: what is to be expected, and chance for the fraction. */
static uint64_t nr_edges_to(const struct graph *g, uint32_t v)
{
	double d = (double)g->nr * FACTOR;

	for (uint32_t bit = 0; bit < g->scale; bit++)
		d *= v >> bit & 1 ? 0.24 : 0.76;
	return (uint64_t)(d + (double)(mix64(v + 1) >> 11) / (double)(1UL << 53));
}

/* Where edge E to V comes from: a bit is 1 in 25 % of the cases under a 0, 21 % under a 1. */
static uint32_t source(const struct graph *g, uint32_t v, uint64_t e)
{
	uint32_t u = 0;
	uint64_t chance = 0;

	for (uint32_t bit = 0; bit < g->scale; bit++) {
		chance = bit % 8 ? chance >> 8 : mix64(e * 4 + bit / 8 + 1);
		u |= (uint32_t)((chance & 255) < (v >> bit & 1 ? 53 : 64)) << bit;
	}
	return u;
}

static void make(struct graph *g)
{
	g->first = map_bytes((g->nr + 1UL) * sizeof(*g->first));
	g->out = map_bytes(g->nr * sizeof(*g->out));
	for (uint32_t v = 0; v < g->nr; v++)
		g->first[v + 1] = g->first[v] + nr_edges_to(g, v);
	g->from = map_bytes(g->first[g->nr] * sizeof(*g->from));
	for (uint32_t v = 0; v < g->nr; v++)
		for (uint64_t e = g->first[v]; e < g->first[v + 1]; e++) {
			g->from[e] = source(g, v, e);
			g->out[g->from[e]]++;
		}
}

/* SHARE becomes what each vertex gives to each of those it has an edge to. */
static void give(const struct graph *g, double *share, const double *rank)
{
	for (uint32_t v = 0; v < g->nr; v++)
		share[v] = g->out[v] ? rank[v] / g->out[v] : 0;
}

static void take(const struct graph *g, const double *share, double *rank)
{
	for (uint32_t v = 0; v < g->nr; v++) {
		double sum = 0;

		for (uint64_t e = g->first[v]; e < g->first[v + 1]; e++)
			sum += share[g->from[e]];
		rank[v] = (1 - DAMPING) / g->nr + DAMPING * sum;
	}
}

int main(int argc, char **argv)
{
	struct graph g = {.nr = 0};
	double *rank, *share, sum = 0;
	uint64_t rounds;

	if (argc != 3)
		return 2;
	alarm(LIMIT_S);
	g.scale = (uint32_t)number(argv[1]);
	g.nr = 1U << g.scale;
	rounds = number(argv[2]);
	make(&g);
	rank = map_bytes(g.nr * sizeof(*rank));
	share = map_bytes(g.nr * sizeof(*share));
	for (uint32_t v = 0; v < g.nr; v++)
		rank[v] = 1.0 / g.nr;
	for (uint64_t i = 0; i < rounds; i++) {
		give(&g, share, rank);
		take(&g, share, rank);
	}
	for (uint32_t v = 0; v < g.nr; v++)
		sum += rank[v] * (v % 97);
	printf("\"%lu edges, %.17g\"\n", g.first[g.nr], sum);
	return 0;
}
