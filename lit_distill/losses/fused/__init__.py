"""The fused engine: losses of logits that are never held, with their gradients.

Hidden rows and head weights go in, losses and gradients come out, and nothing of rows x vocabulary
exists in between. In reading order:

1. `head`: what makes logits of hidden rows. `signals`: what a teacher says about them.
2. `tiles`: how rows are ordered and cut. `head_gradients`: from a tile's gradient to the head's.
3. `row_pass`: the one pass over the tiles, in which K models learn from a teacher or each other.
4. `eager_gradients`: autograd around it, with gradients formed along with the values where the
   caller announces what these will be multiplied with. `checks`: what is refused before.
5. `linear` and `mutual`: what methods call.
"""
