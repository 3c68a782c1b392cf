"""How a per-leaf reference becomes a whole-tree one, for methods that wrap another optimizer over whole trees."""


def leafwise(rule):
    """The per-leaf reference `rule` as one over lists: leafwise(partial(sgd, learning_rate=0.1, ...))(g, s, w)."""

    def whole_tree(g, s, w):
        # A Python number (a count) is the same for all leaves; an array field is one entry per leaf.
        results = []
        for i in range(len(g)):
            s_i = None if s is None else {k: x[i] if isinstance(x, list) else x for k, x in s.items()}
            results.append(rule(g[i], s_i, w[i]))
        s_new = {}
        for k, x in results[0][1].items():
            s_new[k] = x if isinstance(x, (bool, int, float)) else [s_i[k] for _, s_i in results]
        return [u for u, _ in results], s_new

    return whole_tree
