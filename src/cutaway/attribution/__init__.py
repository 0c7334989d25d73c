"""Attribution: what gradients say that an exact intervention would do, of nodes and of edges; and
what components write directly to the answer's logits, and from which tokens."""
