"""Networks by name: those of X2CT-GAN and CycleGAN, an honesty baseline, and the conversion of official weights."""

from .cnn2d import CNN2D as CNN2D
from .convert import from_official as from_official
from .convert import recognise as recognise
from .convert import to_official as to_official
from .patchgan import MultiScaleDiscriminator as MultiScaleDiscriminator
from .patchgan import PatchDiscriminator2D as PatchDiscriminator2D
from .patchgan import PatchDiscriminator3D as PatchDiscriminator3D
from .pix2pix import PixelDiscriminator as PixelDiscriminator
from .pix2pix import UnetGenerator as UnetGenerator
from .projector import PatchProjector as PatchProjector
from .registry import NETWORKS as NETWORKS
from .registry import build_network as build_network
from .registry import load_network as load_network
from .resnet import ResnetGenerator as ResnetGenerator
from .unet import ReplicateUNet as ReplicateUNet
from .x2ct import SingleViewGenerator as SingleViewGenerator
from .x2ct import X2CTGenerator as X2CTGenerator
