"""The rewards that DPO training implies: `implicit:POLICY,REFERENCE`."""
