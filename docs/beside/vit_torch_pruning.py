import torch
import torch_pruning as tp
from timm.models.vision_transformer import Attention, Mlp
from users import images, vit


def forward(self, x, **_):
    """timm's, but for the last reshape: heads that went make the attention narrower than the stream."""
    batch, tokens, _ = x.shape
    qkv = self.qkv(x).reshape(batch, tokens, 3, self.num_heads, self.head_dim).permute(2, 0, 3, 1, 4)
    x = torch.nn.functional.scaled_dot_product_attention(*qkv.unbind(0))
    return self.proj(x.transpose(1, 2).reshape(batch, tokens, -1))


model, example = vit(), images[:1]
attentions = [each for each in model.modules() if isinstance(each, Attention)]
mlps = [each for each in model.modules() if isinstance(each, Mlp)]
for attention in attentions:
    attention.forward = forward.__get__(attention)
widths = [model.patch_embed.proj, model.head, *(each.proj for each in attentions), *(each.fc2 for each in mlps)]
pruner = tp.pruner.BasePruner(
    model,
    example,
    importance=tp.importance.GroupMagnitudeImportance(p=2),
    pruning_ratio=0.3,
    ignored_layers=widths,
    num_heads={each.qkv: each.num_heads for each in attentions},
    prune_num_heads=True,
    prune_head_dims=False,
    head_pruning_ratio=0.3,
)
pruner.step()
for attention in attentions:
    attention.num_heads = pruner.num_heads[attention.qkv]
    attention.head_dim = attention.qkv.out_features // (3 * attention.num_heads)
axes = {"x": {0: "batch"}, "y": {0: "batch"}}
torch.onnx.export(
    model, (example,), "small.onnx", input_names=["x"], output_names=["y"], dynamic_axes=axes, dynamo=False
)
