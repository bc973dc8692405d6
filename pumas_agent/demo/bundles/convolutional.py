"""Owns the tensors of the convolutional models: UNets and the autoencoder of images.

Names and shapes are those that diffusers gives to models of these configs. Never uses torch.
"""

from pumas_agent.demo.bundles.shapes import (
    Config,
    Named,
    Tensors,
    affine,
    affines,
    conv,
    embedder,
    feed_forward,
    norm,
    pixel_attention,
    resnet,
)


def unet_tensors(config: Config) -> Tensors:
    """Of a UNet2DConditionModel, or of a UNet2DModel, which is one without text."""
    return dict(_UNet(config).tensors())


class _UNet:
    """Layers on the way down give what they made to those on the way up, the last first."""

    def __init__(self, config: Config) -> None:
        self._config = config
        self._widths: tuple[int, ...] = config["block_out_channels"]
        self._depths: tuple[int, ...] = config.get("transformer_layers_per_block", (1,) * len(self._widths))
        self._time = 4 * self._widths[0]
        self._text_width: int | None = config.get("cross_attention_dim")
        self._skipped = [self._widths[0]]

    def tensors(self) -> Named:
        config, outer, inner = self._config, self._widths[0], self._widths[-1]
        yield from conv("conv_in", config["in_channels"], outer)
        yield from embedder("time_embedding", outer, self._time)
        if config.get("addition_embed_type") == "text_time":
            yield from embedder("add_embedding", config["projection_class_embeddings_input_dim"], self._time)
        yield from self._down()
        yield from resnet("mid_block.resnets.0", inner, inner, self._time)
        yield from self._attention("mid_block.attentions.0", inner, self._depths[-1])
        yield from resnet("mid_block.resnets.1", inner, inner, self._time)
        yield from self._up()
        yield from norm("conv_norm_out", outer)
        yield from conv("conv_out", outer, config["out_channels"])

    def _down(self) -> Named:
        before = self._widths[0]
        for block, width in enumerate(self._widths):
            for layer in range(self._config["layers_per_block"]):
                yield from self._layer("down_blocks", block, layer, before, width)
                before = width
                self._skipped.append(width)
            if block < len(self._widths) - 1:
                yield from conv(f"down_blocks.{block}.downsamplers.0.conv", width, width)
                self._skipped.append(width)

    def _up(self) -> Named:
        before = self._widths[-1]
        for block, width in enumerate(self._widths[::-1]):
            for layer in range(self._config["layers_per_block"] + 1):
                yield from self._layer("up_blocks", block, layer, before + self._skipped.pop(), width)
                before = width
            if block < len(self._widths) - 1:
                yield from conv(f"up_blocks.{block}.upsamplers.0.conv", width, width)

    def _layer(self, way: str, block: int, layer: int, before: int, width: int) -> Named:
        yield from resnet(f"{way}.{block}.resnets.{layer}", before, width, self._time)
        kinds, depths = self._config[f"{way.removesuffix('s')}_types"], self._depths
        if "Attn" in kinds[block]:
            depth = depths[block if way == "down_blocks" else -1 - block]
            yield from self._attention(f"{way}.{block}.attentions.{layer}", width, depth)

    def _attention(self, name: str, width: int, depth: int) -> Named:
        """To a text, in so many transformer blocks; without one, among the pixels alone."""
        if self._text_width is None:
            yield from pixel_attention(name, width)
            return
        yield from norm(f"{name}.norm", width)
        yield from self._projection(f"{name}.proj_in", width)
        for number in range(depth):
            block = f"{name}.transformer_blocks.{number}"
            for position in (1, 2, 3):
                yield from norm(f"{block}.norm{position}", width)
            for attention, context in (("attn1", width), ("attn2", self._text_width)):
                yield from affine(f"{block}.{attention}.to_q", width, width, bias=False)
                yield from affines(
                    (f"{block}.{attention}.{part}" for part in ("to_k", "to_v")), context, width, bias=False
                )
                yield from affine(f"{block}.{attention}.to_out.0", width, width)
            yield from feed_forward(f"{block}.ff", width, gated=True)
        yield from self._projection(f"{name}.proj_out", width)

    def _projection(self, name: str, width: int) -> Named:
        linear = self._config.get("use_linear_projection", False)
        return affine(name, width, width) if linear else conv(name, width, width, kernel=1)


def vae_tensors(config: Config) -> Tensors:
    """Of an AutoencoderKL."""
    widths, layers = config["block_out_channels"], config["layers_per_block"]
    latent = config["latent_channels"]

    def middle(name: str) -> Named:
        yield from resnet(f"{name}.resnets.0", widths[-1], widths[-1])
        yield from pixel_attention(f"{name}.attentions.0", widths[-1])
        yield from resnet(f"{name}.resnets.1", widths[-1], widths[-1])

    def blocks(name: str, order: tuple[int, ...], count: int, resampler: str) -> Named:
        before = order[0]
        for block, width in enumerate(order):
            for layer in range(count):
                yield from resnet(f"{name}.{block}.resnets.{layer}", before, width)
                before = width
            if block < len(order) - 1:
                yield from conv(f"{name}.{block}.{resampler}.0.conv", width, width)

    def tensors() -> Named:
        yield from conv("encoder.conv_in", config["in_channels"], widths[0])
        yield from blocks("encoder.down_blocks", widths, layers, "downsamplers")
        yield from middle("encoder.mid_block")
        yield from norm("encoder.conv_norm_out", widths[-1])
        yield from conv("encoder.conv_out", widths[-1], 2 * latent)  # a mean and a variance
        if config.get("use_quant_conv", True):
            yield from conv("quant_conv", 2 * latent, 2 * latent, kernel=1)
        if config.get("use_post_quant_conv", True):
            yield from conv("post_quant_conv", latent, latent, kernel=1)
        yield from conv("decoder.conv_in", latent, widths[-1])
        yield from middle("decoder.mid_block")
        yield from blocks("decoder.up_blocks", widths[::-1], layers + 1, "upsamplers")
        yield from norm("decoder.conv_norm_out", widths[0])
        yield from conv("decoder.conv_out", widths[0], config["out_channels"])

    return dict(tensors())
