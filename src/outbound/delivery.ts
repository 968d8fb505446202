// What may become of a message when something dies: it is sent again, or it is not.
export type Delivery = 'at_least_once' | 'exactly_once'
