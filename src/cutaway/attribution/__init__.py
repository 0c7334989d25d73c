"""Attribution: what gradients say that an exact intervention would do, of nodes and of edges."""
