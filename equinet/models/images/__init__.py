"""Networks that classify images, equivariant under the maps of a group."""

from equinet.models.images.dense_group_resnet import DenseGroupResNet
from equinet.models.images.group_resnet import GroupResNet

__all__ = ["DenseGroupResNet", "GroupResNet"]
