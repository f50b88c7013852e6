"""The renderer pool in the store: renderers, their models and speeds, and the line of waiting sections."""
