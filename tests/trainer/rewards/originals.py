"""Two networks as their authors publish them, small: the names and layouts of their checkpoints, written without transformers."""

from __future__ import annotations

from collections import OrderedDict
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

MEAN, STD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)


def pixels(x: Tensor) -> Tensor:
    """What both see of images x [B, 3, H, W] in [-1, 1] that have their size."""
    return ((x + 1) / 2 - torch.tensor(MEAN)[:, None, None]) / torch.tensor(STD)[:, None, None]


class QuickGELU(nn.Module):
    def forward(self, x):
        return x * torch.sigmoid(1.702 * x)


class Block(nn.Module):
    """open_clip's layer, around torch's own attention."""

    def __init__(self, width: int, heads: int, inner: int) -> None:
        super().__init__()
        self.ln_1, self.ln_2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attn = nn.MultiheadAttention(width, heads, batch_first=True)
        layers = {"c_fc": nn.Linear(width, inner), "gelu": QuickGELU(), "c_proj": nn.Linear(inner, width)}
        self.mlp = nn.Sequential(OrderedDict(layers))

    def forward(self, x, causal):
        mask = torch.full((x.shape[1], x.shape[1]), -torch.inf).triu(1) if causal else None
        y = self.ln_1(x)
        x = x + self.attn(y, y, y, attn_mask=mask, need_weights=False)[0]
        return x + self.mlp(self.ln_2(x))


class Blocks(nn.Module):
    def __init__(self, width: int, heads: int, inner: int, layers: int) -> None:
        super().__init__()
        self.resblocks = nn.ModuleList(Block(width, heads, inner) for _ in range(layers))

    def forward(self, x, causal=False):
        for block in self.resblocks:
            x = block(x, causal)
        return x


class Visual(nn.Module):
    def __init__(self, side: int, patch: int, width: int, embedding: int) -> None:
        super().__init__()
        self.class_embedding = nn.Parameter(torch.randn(width))
        self.positional_embedding = nn.Parameter(torch.randn((side // patch) ** 2 + 1, width))
        self.proj = nn.Parameter(torch.randn(width, embedding))
        self.conv1 = nn.Conv2d(3, width, patch, patch, bias=False)
        self.ln_pre, self.ln_post = nn.LayerNorm(width), nn.LayerNorm(width)
        self.transformer = Blocks(width, 2, 2 * width, 2)

    def forward(self, pixels):
        patches = self.conv1(pixels).flatten(2).mT
        first = self.class_embedding.expand(len(pixels), 1, -1)
        x = self.transformer(self.ln_pre(torch.cat([first, patches], dim=1) + self.positional_embedding))
        return self.ln_post(x[:, 0]) @ self.proj


class OpenClip(nn.Module):
    """A CLIP of open_clip's `CLIP` class, with the sizes of the fixture `clip_folder`."""

    def __init__(self, words: int, side: int, width: int = 16, embedding: int = 8, length: int = 12) -> None:
        super().__init__()
        self.positional_embedding = nn.Parameter(torch.randn(length, width))
        self.text_projection = nn.Parameter(torch.randn(width, embedding))
        self.logit_scale = nn.Parameter(torch.tensor(2.0))
        self.visual = Visual(side, 5, width, embedding)
        self.transformer = Blocks(width, 2, 2 * width, 2)
        self.token_embedding = nn.Embedding(words, width)
        self.ln_final = nn.LayerNorm(width)

    def forward(self, pixels, tokens):
        """The cosines [B] between images and one text's tokens [L], whose last ends it."""
        x = self.token_embedding(tokens)[None] + self.positional_embedding[: len(tokens)]
        text = self.ln_final(self.transformer(x, causal=True))[:, -1] @ self.text_projection
        return F.cosine_similarity(self.visual(pixels), text)


def attend(query: Tensor, key: Tensor, value: Tensor, heads: int, seen: Tensor | None = None) -> Tensor:
    """[B, L, D] of queries [B, L, D] on keys and values [B, M, D], of which `seen` [1, M] may be."""
    query, key, value = (each.unflatten(-1, (heads, -1)).transpose(1, 2) for each in (query, key, value))
    return F.scaled_dot_product_attention(query, key, value, seen).transpose(1, 2).flatten(2)


class ViTAttention(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.heads = width // 64
        self.qkv, self.proj = nn.Linear(width, 3 * width), nn.Linear(width, width)

    def forward(self, x):
        query, key, value = self.qkv(x).chunk(3, dim=-1)
        return self.proj(attend(query, key, value, self.heads))


class ViTBlock(nn.Module):
    def __init__(self, width: int, inner: int) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(width, eps=1e-6), nn.LayerNorm(width, eps=1e-6)
        self.attn = ViTAttention(width)
        self.mlp = nn.Sequential(OrderedDict(fc1=nn.Linear(width, inner), act=nn.GELU(), fc2=nn.Linear(inner, width)))

    def forward(self, x):
        x = x + self.attn(self.norm1(x))
        return x + self.mlp(self.norm2(x))


class ViT(nn.Module):
    def __init__(self, side: int, patch: int, width: int) -> None:
        super().__init__()
        # Small, so that the epsilon of the norms is felt.
        self.cls_token = nn.Parameter(2e-3 * torch.randn(1, 1, width))
        self.pos_embed = nn.Parameter(2e-3 * torch.randn(1, (side // patch) ** 2 + 1, width))
        projection = nn.Conv2d(3, width, patch, patch)
        projection.weight.data *= 2e-3
        projection.bias = nn.Parameter(2e-3 * torch.randn(width))
        self.patch_embed = nn.ModuleDict({"proj": projection})
        self.blocks = nn.Sequential(*(ViTBlock(width, 96) for _ in range(2)))
        self.norm = nn.LayerNorm(width, eps=1e-6)

    def forward(self, pixels):
        patches = self.patch_embed["proj"](pixels).flatten(2).mT
        return self.norm(self.blocks(torch.cat([self.cls_token.expand(len(pixels), -1, -1), patches], dim=1) + self.pos_embed))


class Residual(nn.Module):
    """BERT's end of a sublayer."""

    def __init__(self, into: int, width: int) -> None:
        super().__init__()
        self.dense, self.LayerNorm = nn.Linear(into, width), nn.LayerNorm(width, eps=1e-12)

    def forward(self, y, x):
        return self.LayerNorm(self.dense(y) + x)


class BertAttention(nn.Module):
    def __init__(self, width: int, source: int) -> None:
        super().__init__()
        self.heads = width // 64
        parts = {"query": nn.Linear(width, width), "key": nn.Linear(source, width), "value": nn.Linear(source, width)}
        self.self = nn.ModuleDict(parts)
        self.output = Residual(width, width)

    def forward(self, x, source, seen=None):
        query, key, value = self.self["query"](x), self.self["key"](source), self.self["value"](source)
        return self.output(attend(query, key, value, self.heads, seen), x)


class BertLayer(nn.Module):
    def __init__(self, width: int, source: int, inner: int) -> None:
        super().__init__()
        self.attention, self.crossattention = BertAttention(width, width), BertAttention(width, source)
        self.intermediate = nn.ModuleDict({"dense": nn.Linear(width, inner)})
        self.output = Residual(inner, width)

    def forward(self, x, seen, patches):
        x = self.crossattention(self.attention(x, x, seen), patches)
        return self.output(F.gelu(self.intermediate["dense"](x)), x)


class BertLayers(nn.Module):
    def __init__(self, width: int, source: int) -> None:
        super().__init__()
        self.layer = nn.ModuleList(BertLayer(width, source, 80) for _ in range(2))

    def forward(self, x, seen, patches):
        for layer in self.layer:
            x = layer(x, seen, patches)
        return x


class BertEmbeddings(nn.Module):
    def __init__(self, words: int, width: int) -> None:
        super().__init__()
        self.word_embeddings, self.position_embeddings = nn.Embedding(words, width), nn.Embedding(40, width)
        self.LayerNorm = nn.LayerNorm(width, eps=1e-12)
        self.register_buffer("position_ids", torch.arange(40)[None])

    def forward(self, tokens):
        return self.LayerNorm(self.word_embeddings(tokens) + self.position_embeddings.weight[: len(tokens)])


class BertWithImages(nn.Module):
    def __init__(self, words: int, width: int, source: int) -> None:
        super().__init__()
        self.embeddings, self.encoder = BertEmbeddings(words, width), BertLayers(width, source)

    def forward(self, tokens, seen, patches):
        return self.encoder(self.embeddings(tokens).expand(len(patches), -1, -1), seen[None], patches)


class OriginalImageReward(nn.Module):
    """ImageReward around a BLIP of 20-pixel images; `vision_proj` and `text_proj` are in its checkpoint, unused."""

    def __init__(self, words: int, side: int) -> None:
        super().__init__()
        image, text = 64, 128
        parts = {"visual_encoder": ViT(side, 5, image), "text_encoder": BertWithImages(words, text, image)}
        unused = {"vision_proj": nn.Linear(image, 8), "text_proj": nn.Linear(text, 8)}
        self.blip = nn.ModuleDict(parts | unused)
        sizes = [text, 24, 12, 8, 4, 1]
        layers = [nn.Linear(*pair) for pair in pairwise(sizes)]
        for layer in layers:
            layer.weight.data *= 3  # so that images differ by as much as a score does
        for place in (1, 3, 5):
            layers.insert(place, nn.Dropout(0.2))  # type: ignore[arg-type]
        self.mlp = nn.ModuleDict({"layers": nn.Sequential(*layers)})

    def forward(self, pixels, tokens, seen):
        """The scores [B] of images under one text's tokens [L], padded where `seen` [L] is false."""
        read = self.blip["text_encoder"](tokens, seen, self.blip["visual_encoder"](pixels))
        return (self.mlp["layers"](read[:, 0])[:, 0] - 0.16717362830052426) / 1.0333394966054072
